"""A real Chromium, driven through its driver's HTTP interface; nothing but the standard library."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files",
)  # fmt: skip


class Page:
    """One window. ``run`` evaluates a function body in the page and gives back what it returns."""

    def __init__(self, address: str, session: str) -> None:
        self.address = f"{address}/session/{session}"

    def open(self, path: Path) -> None:
        _call(f"{self.address}/url", {"url": path.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        return _call(f"{self.address}/execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys: str) -> None:
        codes = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c"}
        steps = [{"type": kind, "value": codes[key]} for key in keys for kind in ("keyDown", "keyUp")]
        _call(f"{self.address}/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": steps}]})

    def console(self) -> list[str]:
        """What the page wrote to the console since the last call, warnings and errors."""
        return [
            f"{entry['level']}: {entry['message']}" for entry in _call(f"{self.address}/se/log", {"type": "browser"})
        ]

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        self._cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setEmulatedMedia", media="", features=[scheme])

    def printed(self, *, width: int) -> None:
        """As on paper that is ``width`` CSS pixels wide, until the next `look`."""
        self.look(width=width)
        self._cdp("Emulation.setEmulatedMedia", media="print")

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        data = self._cdp("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def _cdp(self, command: str, **parameters: Any) -> Any:
        return _call(f"{self.address}/goog/cdp/execute", {"cmd": command, "params": parameters})


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser with a new profile; it and its driver are ended at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert DRIVER
    assert BROWSER
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address, session = f"http://127.0.0.1:{port}", None
    try:
        _wait_for(address)
        options = {"binary": BROWSER, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = _call(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        yield Page(address, session)
    finally:
        if session is not None:
            request = urllib.request.Request(f"{address}/session/{session}", method="DELETE")
            urllib.request.urlopen(request, timeout=30).close()
        driver.terminate()
        driver.wait(timeout=30)


def _wait_for(address: str) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"{address}/status", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("chromedriver did not start")


def _call(url: str, content: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url, data=json.dumps(content).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        with error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None
