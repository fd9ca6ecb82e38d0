"""A server on 127.0.0.1 that runs in a thread, for the fake servers of the Hub and of W&B."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LocalHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # of an idle connection

    def do_GET(self) -> None:
        self.respond(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def respond(self, body: bytes) -> None:
        raise NotImplementedError

    def send(self, content: bytes, headers: Mapping[str, str] | None = None, *, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_json(self, value: object, headers: Mapping[str, str] | None = None, *, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}, status=status)

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def running(handler: type[LocalHandler], **attributes: Any) -> Iterator[str]:
    """Answer with a handler that has these attributes. Yield the address of the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (handler,), attributes))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
