"""A Hub on 127.0.0.1 for tests: the part of its HTTP API that `load_dataset` and `from_pretrained` use.

`with serve({"datasets/nyu-mll/glue": FOLDER, "models/google-t5/tiny": FOLDER}) as hub:` serves folders as repositories
of one commit. Give a child process `hub.environment(home)`, which sets HF_ENDPOINT and a cache.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from local_server import LocalHandler, running

TYPES = ("datasets", "models")
COMMIT = "0" * 39 + "1"


@dataclass
class Hub:
    """A running server: its address and the requests that it received, as `GET /path`."""

    url: str
    requests: list[str] = field(default_factory=list)

    def environment(self, home: Path) -> dict[str, str]:
        """Return the environment of a child process that uses this server as the Hub."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
        return kept | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "OMP_NUM_THREADS": "1",
        }


@contextmanager
def serve(repos: Mapping[str, Path]) -> Iterator[Hub]:
    """Serve folders as repositories. A key is `datasets/OWNER/NAME` or `models/OWNER/NAME`."""
    hub = Hub(url="")
    files = {
        key: {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for key, folder in repos.items()
    }
    with running(Handler, hub=hub, files=files) as hub.url:
        yield hub


class Handler(LocalHandler):
    hub: Hub
    files: Mapping[str, Mapping[str, bytes]]  # repository → path → content

    def respond(self, body: bytes) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        path = unquote(urlsplit(self.path).path).strip("/")
        if path == "":
            self.send(b"a Hub for tests")
        elif path.startswith("api/"):
            words = path.split("/")[1:]
            self._answer_api("/".join(words[:3]), words[3:], body)
        else:
            repo, _, rest = path.partition("/resolve/")
            repo = repo if repo.split("/")[0] in TYPES else f"models/{repo}"
            content = self.files.get(repo, {}).get(rest.partition("/")[2])
            if content is None:
                self._send_missing("EntryNotFound" if repo in self.files else "RepoNotFound", path)
            else:
                self.send(content, {"ETag": f'"{blob_id(content)}"'})

    def _answer_api(self, repo: str, words: list[str], body: bytes) -> None:
        if repo not in self.files:
            self._send_missing("RepoNotFound", repo)
            return
        files = self.files[repo]
        if words[:1] == ["tree"]:
            self.send_json(list_entries(files, under="/".join(words[2:])))
        elif words[:1] == ["paths-info"]:
            wanted = json.loads(body)["paths"]
            names = {name.strip("/") for name in ([wanted] if isinstance(wanted, str) else wanted)}
            self.send_json([entry for entry in list_entries(files) if entry["path"] in names])
        else:
            siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
            self.send_json({"id": repo.partition("/")[2], "sha": COMMIT, "siblings": siblings, "private": False})

    def send(self, content: bytes, headers: Mapping[str, str] | None = None, *, status: int = 200) -> None:
        super().send(content, {"X-Repo-Commit": COMMIT, **(headers or {})}, status=status)

    def _send_missing(self, code: str, what: str) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": f"{what} not found"}
        self.send_json({"error": f"{what} not found"}, headers, status=404)


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def list_entries(files: Mapping[str, bytes], under: str = "") -> list[dict[str, Any]]:
    """Return the files and folders below a folder, as the Hub lists them."""
    entries: dict[str, dict[str, Any]] = {}
    for name, content in files.items():
        for folder in reversed(Path(name).parents[:-1]):
            entries[str(folder)] = {"type": "directory", "oid": blob_id(b""), "size": 0, "path": str(folder)}
        entries[name] = {"type": "file", "oid": blob_id(content), "size": len(content), "path": name}
    return [entry for path, entry in entries.items() if not under or path.startswith(f"{under}/")]
