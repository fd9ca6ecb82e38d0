"""Control a real Chromium through the DevTools protocol on a pipe, with the standard library alone."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files",
)  # fmt: skip
TIMEOUT = 30.0  # seconds for one command or for a page to load
needs_browser = pytest.mark.skipif(not BROWSER, reason="Chromium was not found: install the package `chromium`")
# Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
START = ["bash", "-c", 'exec "${@:3}" 3<&"$1" 4>&"$2"', "start"]


class Page:
    """A page of the browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._unread = b""
        self._number, self._session = 0, ""
        self._events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, path: Path) -> None:
        """Load the file and wait until its scripts have run. Raises TimeoutError if they do not end."""
        self._events.clear()
        self._call("Page.navigate", url=path.as_uri())
        end = time.monotonic() + TIMEOUT
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive(end)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return the value of a function body evaluated in the page."""
        call = f"(function () {{ {script} }})(...{json.dumps(arguments)})"
        answer = self._call("Runtime.evaluate", expression=call, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def console(self) -> list[str]:
        """Return the messages, errors and exceptions of the console since the page was opened."""
        self.run("return 0")  # events that were sent before this answer have arrived
        names = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [json.dumps(event) for event in self._events if event["method"] in names]

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", media="", features=[scheme])

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        data = self._call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        end = time.monotonic() + TIMEOUT
        while (answer := self._receive(end)).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _receive(self, end: float) -> dict[str, Any]:
        """Return the next message from the browser. Events are also stored."""
        while b"\0" not in self._unread:
            if not select.select([self._answers], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium did not answer within {TIMEOUT:g} s.")
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise RuntimeError("Chromium has ended.")
            self._unread += part
        message, _, self._unread = self._unread.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        if "method" in found:
            self._events.append(found)
        return found


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """Start a browser with a new profile, and end all its processes when the context ends."""
    assert BROWSER
    ends = [*os.pipe(), *os.pipe()]
    pipes = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]  # so that descriptors 3 and 4 stay free
    for end in ends:
        os.close(end)
    their_read, our_write, our_read, their_write = pipes
    command = [BROWSER, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [*START, str(their_read), str(their_write), *command],
        pass_fds=(their_read, their_write), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(their_read)
    os.close(their_write)
    try:
        yield Page(our_write, our_read)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(our_write)
        os.close(our_read)
