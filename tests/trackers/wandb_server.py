"""A minimal W&B server on 127.0.0.1 for the client's online mode. It receives runs and stores their values.

The server has four modes: it answers, refuses the key (status 401), hangs (accepts a connection and sends nothing), or
drops every connection. The mode can change in the middle of a run.
"""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from local_server import LocalHandler, running

Mode = Literal["answer", "refuse", "hang", "drop"]


class WandbServer:
    """A server: its address in ``url``, and the config, the summary and the history of each run in ``runs``."""

    def __init__(self) -> None:
        self.mode: Mode = "answer"
        self.runs: dict[str, dict[str, Any]] = {}
        self.released = threading.Event()
        self.url = ""

    def run(self, name: str) -> dict[str, Any]:
        return self.runs.setdefault(name, {"config": {}, "summary": {}, "history": {}, "exit_code": None, "files": {}})

    def epochs(self, name: str) -> list[float]:
        """Return the epochs in a run's history, in the order of the steps."""
        return [row["train/epoch"] for _, row in sorted(self.run(name)["history"].items()) if "train/epoch" in row]

    def graphql(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data of the response to a GraphQL operation."""
        if operation == "UpsertBucket":
            run = self.run(variables["name"])
            told = {"group": variables["groupName"], "job_type": variables["jobType"], "tags": variables["tags"],
                    "notes": variables.get("notes")}  # fmt: skip
            run |= {key: value for key, value in told.items() if value is not None}
            run["config"] |= json.loads(variables["config"] or "{}")
            return {"upsertBucket": {"bucket": self.bucket(variables["name"]), "inserted": True}}
        if operation == "RunResumeStatus":
            name = variables["name"]
            return {"model": {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "me"},
                              "bucket": self.resumable(name) if name in self.runs else None}}  # fmt: skip
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{variables['run']}/{name}"}
                     for name in variables["files"]]  # fmt: skip
            return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}
        if operation == "CreateArtifact":
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": {
                "id": "s", "latestArtifact": None}}}}  # fmt: skip
        if operation == "ArtifactType":
            return {"project": None}
        if operation == "Viewer":
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        return {}

    def bucket(self, name: str) -> dict[str, Any]:
        project = {"id": "p", "name": "krona", "entity": {"id": "e", "name": "me"}}
        return {"id": name, "name": name, "displayName": name, "description": "", "config": "{}", "sweepName": None,
                "project": project, "historyLineCount": len(self.run(name)["history"])}  # fmt: skip

    def resumable(self, name: str) -> dict[str, Any]:
        history = self.run(name)["history"]
        last = history[max(history)] if history else {}
        return {"id": name, "name": name, "historyLineCount": len(history), "eventsLineCount": 0, "logLineCount": 0,
                "historyTail": json.dumps([json.dumps(last)]) if last else "[]", "eventsTail": "[]",
                "summaryMetrics": json.dumps(self.run(name)["summary"]), "config": json.dumps(self.run(name)["config"]),
                "tags": [], "notes": "", "displayName": name, "wandbConfig": json.dumps({"t": 1})}  # fmt: skip

    def stream(self, name: str, content: dict[str, Any]) -> None:
        """Store the history and the summary that were posted to a run's file stream.

        A later row of a step replaces an earlier one, as on W&B's server (wandb/wandb#12269), because `wandb sync` of
        an interrupted run sends lines again.
        """
        run = self.run(name)
        for file, part in (content.get("files") or {}).items():
            if file == "wandb-history.jsonl":
                run["history"] |= {row["_step"]: row for row in map(json.loads, part["content"])}
            if file == "wandb-summary.json":
                run["summary"] |= json.loads(part["content"][0])
        if content.get("complete"):
            run["exit_code"] = content.get("exitcode")


@contextmanager
def serve() -> Iterator[WandbServer]:
    server = WandbServer()
    with running(_Handler, wandb=server) as server.url:
        try:
            yield server
        finally:
            server.released.set()


class _Handler(LocalHandler):
    wandb: WandbServer

    def respond(self, body: bytes) -> None:
        if not self.lets_through():
            return
        parts, answer = self.path.split("/"), {}
        if self.command == "PUT":  # /upload/run/name of the file
            self.wandb.run(parts[2])["files"]["/".join(parts[3:])] = body
        elif self.command == "POST":
            packed = self.headers.get("Content-Encoding") == "gzip"
            content = json.loads((gzip.decompress(body) if packed else body) or b"{}")  # {}: telemetry of the client
            if self.path.startswith("/graphql"):
                operation = re.search(r"(?:query|mutation)\s+(\w+)", content["query"])[1]
                answer = {"data": self.wandb.graphql(operation, content.get("variables") or {})}
            elif parts[-1] == "file_stream":  # /files/entity/project/run/file_stream
                self.wandb.stream(parts[-2], content)
        self.send_json(answer)

    def lets_through(self) -> bool:
        """Return whether the server answers. In another mode, refuse the request, hang, or drop the connection."""
        if self.wandb.mode == "refuse":
            self.send_json({"errors": [{"message": "user is not logged in"}]}, status=401)
        elif self.wandb.mode == "hang":
            self.wandb.released.wait(120)
        if self.wandb.mode in ("hang", "drop"):
            self.close_connection = True
        return self.wandb.mode == "answer"
