"""A Hub on 127.0.0.1, for tests: as much of its HTTP API as `load_dataset` and `from_pretrained` ask for.

`with serve({"datasets/nyu-mll/glue": FOLDER, "models/google-t5/tiny": FOLDER}) as hub:` serves folders as
repositories of one commit; give a child process `hub.environment(home)` (HF_ENDPOINT and caches of its own). The server
lives in a daemon thread, answers from memory of the folder, and stops with the block.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TYPES = ("datasets", "models")


@dataclass
class Hub:
    """A running server: its address and the requests that it saw, as `GET /path`."""

    url: str
    requests: list[str] = field(default_factory=list)

    def environment(self, home: Path) -> dict[str, str]:
        """The environment of a child process that takes this server for the Hub."""
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
    """Serve folders; a key is `datasets/OWNER/NAME` or `models/OWNER/NAME`."""
    hub = Hub(url="")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(repos, hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _commit(folder: Path) -> str:
    digest = hashlib.sha1()
    for name, data in _files(folder).items():
        digest.update(name.encode() + hashlib.sha1(data).digest())
    return digest.hexdigest()


def _files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(name: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "oid": _blob_id(data), "size": len(data), "path": name}


def _handler(repos: Mapping[str, Path], hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30  # a connection that says nothing ends

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            hub.requests.append(f"{self.command} {self.path}")
            path = unquote(urlsplit(self.path).path).strip("/")
            if path.startswith("api/"):
                self._api(path.removeprefix("api/"), body)
            elif "/resolve/" in path:
                self._resolve(path)
            elif path == "":
                self._send(200, b"a Hub for tests", "text/plain")
            else:
                self._missing("EntryNotFound", path)

        def _repo(self, key: str) -> Path | None:
            if key not in repos:
                self._missing("RepoNotFound", key)
                return None
            return repos[key]

        def _api(self, path: str, body: bytes) -> None:
            words = path.split("/")
            key, rest = "/".join(words[:3]), words[3:]
            folder = self._repo(key)
            if folder is None:
                return
            files, commit = _files(folder), _commit(folder)
            if rest == [] or rest[0] == "revision":
                if rest[1:] not in ([], ["main"], [commit]):
                    self._missing("RevisionNotFound", path)
                    return
                siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
                info = {"id": "/".join(words[1:3]), "sha": commit, "siblings": siblings, "private": False, "tags": []}
                self._json(info | {"downloads": 0, "likes": 0, "gated": False, "disabled": False})
            elif rest[0] == "tree":
                self._tree(files, "/".join(rest[2:]), recursive="recursive=true" in self.path.lower())
            elif rest[0] == "paths-info":
                wanted = json.loads(body)["paths"]
                self._json(_paths_info(files, [wanted] if isinstance(wanted, str) else wanted))
            else:
                self._missing("EntryNotFound", path)

        def _tree(self, files: Mapping[str, bytes], under: str, *, recursive: bool) -> None:
            prefix = f"{under}/" if under else ""
            entries: dict[str, dict[str, Any]] = {}
            for name, data in files.items():
                if not name.startswith(prefix):
                    continue
                parts = name.removeprefix(prefix).split("/")
                for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                    folder = prefix + "/".join(parts[:depth])
                    entries[folder] = {"type": "directory", "oid": _blob_id(b""), "size": 0, "path": folder}
                if recursive or len(parts) == 1:
                    entries[name] = _entry(name, data)
            if entries:
                self._json(list(entries.values()))
            else:
                self._missing("EntryNotFound", under)

        def _resolve(self, path: str) -> None:
            before, _, after = path.partition("/resolve/")
            words = before.split("/")
            key = before if words[0] in TYPES else f"models/{before}"
            folder = self._repo(key)
            if folder is None:
                return
            revision, _, name = after.partition("/")
            commit, data = _commit(folder), _files(folder).get(name)
            if revision not in ("main", commit):
                self._missing("RevisionNotFound", revision)
            elif data is None:
                self._missing("EntryNotFound", name, {"X-Repo-Commit": commit})
            else:
                self._file(data, commit)

        def _file(self, data: bytes, commit: str) -> None:
            headers = {"X-Repo-Commit": commit, "ETag": f'"{_blob_id(data)}"', "Accept-Ranges": "bytes"}
            status, wanted = 200, self.headers.get("Range", "")
            if wanted.startswith("bytes="):
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                begin, end = int(first or 0), int(last or len(data) - 1)
                headers["Content-Range"] = f"bytes {begin}-{min(end, len(data) - 1)}/{len(data)}"
                status, data = 206, data[begin : end + 1]
            self._send(status, data, "application/octet-stream", headers)

        def _json(self, value: object) -> None:
            self._send(200, json.dumps(value).encode(), "application/json")

        def _missing(self, code: str, what: str, headers: Mapping[str, str] | None = None) -> None:
            told = {"X-Error-Code": code, "X-Error-Message": f"{what} not found", **(headers or {})}
            self._send(404, json.dumps({"error": f"{what} not found"}).encode(), "application/json", told)

        def _send(self, status: int, data: bytes, content: str, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    return Handler


def _paths_info(files: Mapping[str, bytes], wanted: list[str]) -> list[dict[str, Any]]:
    entries = []
    for name in wanted:
        name = name.strip("/")
        if name in files:
            entries.append(_entry(name, files[name]))
        elif name == "" or any(file.startswith(f"{name}/") for file in files):
            entries.append({"type": "directory", "oid": _blob_id(b""), "size": 0, "path": name})
    return entries
