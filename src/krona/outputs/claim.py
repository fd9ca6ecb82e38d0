"""Claims on runs: a file in a run's folder names the process that owns it and is touched by a heartbeat.

Needs only a file system that creates files exclusively and renames them atomically, so network file systems will do. A
claim lapses at once if its owner is known to be dead: a process of this machine, or this SLURM job before it was
requeued. Otherwise it lapses `LAPSE_S` after its last beat by the file system's clock, as machines' clocks may differ,
if it then shows no beat while it is watched for `WATCH_S`. A process that has lost its claim notices before it writes
(`Claim.check`), so a result is never published twice.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from krona.messages import KronaError

BEAT_S = 5.0
LAPSE_S = 60.0
WATCH_S = 15.0  # three beats


class ClaimLostError(KronaError):
    """Another process took the run over, or its folder is gone."""


class Claim:
    """This process's claim on a run's folder."""

    def __init__(self, folder: Path, token: str) -> None:
        self.path = folder / "claim.json"
        self.token = token
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"claim of {folder.name}", daemon=True)
        self._heart.start()

    def check(self) -> None:
        """Raise `ClaimLostError` if the claim is no longer this process's, or is gone with its folder."""
        owner = _read(self.path)
        if not owner:
            raise ClaimLostError(
                f"{self.path.parent} is gone (a shared folder that is no longer mounted?): the run stops here and "
                "writes nothing; the same command resumes it when the folder is back"
            )
        if owner.get("token") != self.token:
            raise ClaimLostError(
                f"{self.path.parent.name} was taken over by process {owner.get('pid', '?')} on "
                f"{owner.get('host', '?')} while this one was suspended; it stops here and writes nothing"
            )

    def release(self) -> None:
        """Remove the claim, if it is still this process's."""
        self._stop.set()
        self._heart.join()
        if _read(self.path).get("token") == self.token:
            with contextlib.suppress(OSError):  # gone with its folder
                self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with contextlib.suppress(OSError):
                if _read(self.path).get("token") == self.token:
                    os.utime(self.path)


def claim(folder: Path) -> Claim | None:
    """Claim a run's folder, which is created if needed; None if a live owner has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "claim.json"
        for _ in range(3):  # the claim may be released or taken over in between
            token = uuid.uuid4().hex
            if _create(path, token):
                return Claim(folder, token)
            holder = _read(path).get("token", "damaged")
            if not _lapsed(path) or not _stands_still(path):
                return None
            if _take_over(path, str(holder), token):
                return Claim(folder, token)
    except OSError as error:
        raise KronaError(f"{folder} can't be written to: {error.strerror or error}") from error
    return None


def owner(folder: Path) -> dict[str, Any] | None:
    """The live owner of a run's folder ({host, pid, token}), or None."""
    path = folder / "claim.json"
    return None if not path.exists() or _lapsed(path) else _read(path)


def _create(path: Path, token: str) -> bool:
    """Create a claim if there is none. A reader may find it half written, which counts as a claim."""
    try:
        file = path.open("x")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(_own(token))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _take_over(path: Path, holder: str, token: str) -> bool:
    """Replace a lapsed claim. Of several processes that try, the one that creates the marker may."""
    marker = path.with_name(f".takeover.{holder}")
    if not _create(marker, token):
        if _lapsed(marker):  # its creator died here: the next attempt has a chance
            marker.unlink(missing_ok=True)
        return False
    try:
        if str(_read(path).get("token", "damaged")) != holder or not _lapsed(path):
            return False  # another was faster, or the owner woke up
        part = path.with_name(f".claim.{token}")
        part.write_text(_own(token))
        part.replace(path)
        return True
    finally:
        marker.unlink(missing_ok=True)


def _own(token: str) -> str:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "token": token, "slurm": _slurm_job()})


def _slurm_job() -> list[Any] | None:
    """This process's SLURM job and how often it was requeued; None outside SLURM."""
    number = os.environ.get("SLURM_JOB_ID")  # one for each job of an array
    return None if number is None else [number, int(os.environ.get("SLURM_RESTART_COUNT", "0"))]


def _lapsed(path: Path) -> bool:
    """Whether a claim's owner seems to be gone, without watching it."""
    if _gone(_read(path)):
        return True
    age = _age(path)
    return age is None or abs(age) > LAPSE_S  # a beat in the future is no sign of life


def _gone(holder: Mapping[str, Any]) -> bool:
    """Whether a claim's holder is known to be dead."""
    if holder.get("host") == socket.gethostname() and not alive(holder.get("pid")):
        return True
    before, now = holder.get("slurm"), _slurm_job()
    return bool(before and now and before[0] == now[0] and before[1] < now[1])


def _age(path: Path) -> float | None:
    """Seconds since a claim's last beat by the file system's clock; None if it is gone."""
    probe = path.with_name(f".now.{uuid.uuid4().hex}")
    try:
        beat = path.stat().st_mtime
        probe.touch()
        return probe.stat().st_mtime - beat
    except FileNotFoundError:
        return None
    finally:
        probe.unlink(missing_ok=True)


def _stands_still(path: Path) -> bool:
    """Watch a lapsed claim, unless its owner is known to be dead: whether it shows no beat."""
    holder = _read(path)
    if _gone(holder):
        return True
    try:
        beat = path.stat().st_mtime_ns
        until = time.monotonic() + WATCH_S
        while time.monotonic() < until:
            time.sleep(min(1.0, WATCH_S))
            if path.stat().st_mtime_ns != beat:
                return False
    except FileNotFoundError:
        return True
    return _read(path) == holder


def alive(pid: Any) -> bool:
    """Whether this machine has a process of this number."""
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
