"""A run has one owner: a claim file in its folder, taken by whoever creates it first and kept alive by a heartbeat.

Works wherever creating a file exclusively and renaming one are atomic, network file systems included: no kernel
locks. A claim whose heart has stopped lapses: at once where its process was on this machine and is gone, or where it
was this SLURM job before it was requeued; otherwise after `LAPSE_S`, measured by the file system's own clock, so that
machines' clocks may differ, and then only if it stands still while it is watched, should that clock be a machine's.
Whoever lost a claim notices before it writes (`Claim.check`), so a result is never published twice.
"""

import contextlib
import errno
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
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # what file systems without hard links say


class ClaimLostError(KronaError):
    """Somebody else took the run over while this process was thought dead."""


class Claim:
    """The claim on a run's folder, held by this process."""

    def __init__(self, folder: Path, token: str) -> None:
        self.path = folder / "claim.json"
        self.token = token
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"claim of {folder.name}", daemon=True)
        self._heart.start()

    def check(self) -> None:
        """Raise `ClaimLostError` where the claim is no longer this process's, or is gone with its folder."""
        owner = _read(self.path)
        if not owner:
            raise ClaimLostError(
                f"{self.path.parent} is gone (a shared folder that is no longer mounted?): the run stops here and "
                "writes nothing; the same command goes on when the folder is back"
            )
        if owner.get("token") != self.token:
            raise ClaimLostError(
                f"{self.path.parent.name} was taken over by process {owner.get('pid', '?')} on "
                f"{owner.get('host', '?')} while this one stood still; it stops here and writes nothing"
            )

    def release(self) -> None:
        """Give the claim back, if it is still ours."""
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
    """Claim a run's folder (made where it is missing); None where a living owner has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "claim.json"
        for _ in range(3):  # a claim that is released or taken over in between is looked at again
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
    """Who holds the claim on a run's folder ({host, pid, token}), or None where nobody alive does."""
    path = folder / "claim.json"
    return None if not path.exists() or _lapsed(path) else _read(path)


def _create(path: Path, token: str) -> bool:
    """Create the claim whole: written aside, then linked to its name, which fails where the name is taken."""
    part = path.with_name(f".claim.{token}")
    part.write_text(_own(token))
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _create_in_place(path, token)
    finally:
        part.unlink()
    return True


def _create_in_place(path: Path, token: str) -> bool:
    """Where there are no links: a reader may find the claim half written, which holds like a whole one."""
    try:
        with path.open("x") as file:
            file.write(_own(token))
    except FileExistsError:
        return False
    return True


def _take_over(path: Path, holder: str, token: str) -> bool:
    """Put a claim in the place of a lapsed one. Of several that try, the one that creates the marker may."""
    marker = path.with_name(f".takeover.{holder}")
    if not _create(marker, token):
        if _lapsed(marker):  # who had it died just here: the next attempt has a chance
            marker.unlink(missing_ok=True)
        return False
    try:
        if str(_read(path).get("token", "damaged")) != holder or not _lapsed(path):
            return False  # another was before us, or the owner woke up
        part = path.with_name(f".claim.{token}")
        part.write_text(_own(token))
        part.replace(path)
        return True
    finally:
        marker.unlink(missing_ok=True)


def _own(token: str) -> str:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "token": token, "slurm": _slurm_job()})


def _slurm_job() -> list[Any] | None:
    """The SLURM job that this process belongs to and how often it was requeued; None outside of SLURM."""
    number = os.environ.get("SLURM_JOB_ID")  # an array's jobs have one each
    return None if number is None else [number, int(os.environ.get("SLURM_RESTART_COUNT", "0"))]


def _lapsed(path: Path) -> bool:
    """Whether a claim's owner is gone, as far as one look tells."""
    if _gone(_read(path)):
        return True
    age = _age(path)
    return age is None or abs(age) > LAPSE_S  # a beat in the future is no sign of life


def _gone(holder: Mapping[str, Any]) -> bool:
    """Whether the holder of a claim is known to be dead: this machine's processes and SLURM's jobs can be asked."""
    if holder.get("host") == socket.gethostname() and not alive(holder.get("pid")):
        return True
    before, now = holder.get("slurm"), _slurm_job()
    return bool(before and now and before[0] == now[0] and before[1] < now[1])


def _age(path: Path) -> float | None:
    """Seconds since a claim's last beat by the file system's clock; None where it has gone."""
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
    """Whether a lapsed claim shows no beat while it is watched, if its owner is not known to be dead."""
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
    """Whether a process of this number is on this machine."""
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
