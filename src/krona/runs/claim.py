"""Reserve a run for one process by a claim, so that only one process works on a run at a time.

A claim is a file in the run's folder that names the process that works on the run (the owner). A thread of the owner
updates the file's time stamp at regular intervals (the heartbeat). Claims need a file system that creates files
exclusively and renames them atomically. Network file systems can do both.

A claim lapses immediately if its owner is known to be dead. Only processes of this machine, and processes that this
SLURM job started before the job was requeued, can be known to be dead. The claim of any other owner lapses if the last
heartbeat is older than `LAPSE_S`, and no heartbeat follows while another process watches the claim for `WATCH_S`. The
heartbeat's age is measured with the file system's clock, because the clocks of the machines may differ.

An owner that was suspended for longer, and continues after another process has taken over the run, notices this before
it removes a file, and ends. It can replace no file, because the new owner has removed its incomplete files.
"""

import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from krona.messages import KronaError
from krona.runs.processes import is_alive, slurm_job
from krona.runs.result import WRITTEN
from krona.safe_files import Fill, remove, write_text, write_whole

CLAIM = "claim.json"
TAKEOVER = ".takeover."  # and the token of the owner whose claim is taken over
CLOCK = ".now."  # a file that is created to read the time of the file system
PART = re.compile(rf"\.({'|'.join(map(re.escape, WRITTEN))})\..+")  # an incomplete file
OF_CLAIM = re.compile(rf"({re.escape(CLOCK)}|{re.escape(TAKEOVER)}|\.{re.escape(CLAIM)}\.).+")  # temporary files
TOKEN = re.compile(r"\w{1,64}")  # a token is part of file names
BEAT_S = 5.0  # the interval between two heartbeats, in seconds
LAPSE_S = 60.0  # seconds; the owner of a claim with an older heartbeat may be dead
WATCH_S = 15.0  # seconds for which a claim with a heartbeat older than LAPSE_S is watched (three heartbeats)


class Owner(TypedDict, total=False):
    """The process that a claim names. A damaged claim has no keys."""

    host: str
    machine: str | None  # `machine`
    pid: int
    token: str
    slurm: list[str | int] | None  # `slurm_job`


class ClaimLostError(KronaError):
    """The error if another process has taken over the run, or if the run's folder or claim no longer exists."""


class Claim:
    """The claim of this process on a run's folder."""

    def __init__(self, folder: Path, token: str) -> None:
        self.path = folder / CLAIM
        self.token = token
        self._stop = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name=f"claim of {folder.name}", daemon=True)
        self._heartbeat.start()

    def check(self) -> None:
        """Raise `ClaimLostError` if another process has claimed the run, or if the run's folder or claim is missing."""
        owner, run = read_owner(self.path), self.path.parent
        if owner.get("token") == self.token:
            return
        if not owner:
            raise ClaimLostError(
                f"The folder {run} or its claim file does not exist any more. Check whether a shared folder was "
                "unmounted. The run stopped and wrote nothing. The same command resumes the run when the folder is "
                "available again."
            )
        raise ClaimLostError(
            f"The run {run.name} was taken over by {describe(owner)} while this process was suspended. This process "
            "ends now. It has not changed the run since then."
        )

    def write(self, path: Path, fill: Fill) -> None:
        """Write a file of the run atomically.

        Raises:
            ClaimLostError: the claim is lost. Nothing was changed.
            KronaError: the file could not be written.
        """
        self.check()
        try:
            write_whole(path, fill, before_replacing=self.check)
        except KronaError:
            self.check()  # if the claim was lost meanwhile, this is the cause of the error
            raise

    def remove(self, path: Path) -> None:
        """Remove a file of the run if it exists. Symbolic links are not followed.

        Raises:
            ClaimLostError: the claim is lost.
        """
        self.check()
        if os.path.lexists(path):  # otherwise, the file may be that of the next owner a moment later
            remove(path)

    def set_aside(self, path: Path) -> Path:
        """Rename a damaged file of the run to ``NAME.damaged``, and return the new path.

        Raises:
            ClaimLostError: the claim is lost.
        """
        self.check()
        return path.rename(path.with_name(f"{path.name}.damaged"))

    def release(self) -> None:
        """End the heartbeat, and remove the claim if the claim still names this process."""
        self._stop.set()
        self._heartbeat.join()
        if read_owner(self.path).get("token") == self.token:
            remove(self.path)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(OSError):
                if read_owner(self.path).get("token") == self.token:
                    os.utime(self.path)


def claim(folder: Path) -> Claim | None:
    """Claim a run's folder for this process. Return the claim, or None if another live process has claimed the run.

    The folder is created if it does not exist. Files that killed processes left in the folder are removed.

    Raises:
        KronaError: the folder cannot be written to or is a symbolic link.
    """
    try:
        if folder.is_symlink():
            raise KronaError(
                f"{folder} is a symbolic link. krona does not change the target of a link. Remove the link."
            )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CLAIM
        for _ in range(3):  # another process may release or take over the claim during an attempt
            token = uuid.uuid4().hex
            created = _create(path, token)
            if not created:
                owner = str(read_owner(path).get("token", "damaged"))
                if not has_lapsed(path) or not stands_still(path):
                    return None
            if created or _take_over(path, owner, token):
                _remove_leftovers(path)
                return Claim(folder, token)
    except OSError as error:
        raise KronaError(f"The folder {folder} cannot be written to: {error.strerror or error}") from error
    return None


def describe(owner: Owner) -> str:
    """Return the process as text, such as ``process 12 on host``."""
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"


def _create(path: Path, token: str) -> bool:
    """Create a claim file. Return false if the file exists already.

    Another process that reads the file before its content is complete treats the file as a valid claim.
    """
    try:
        file = path.open("x")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(claim_text(token))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _take_over(path: Path, owner: str, token: str) -> bool:
    """Replace a lapsed claim by a claim with this token. Return whether the claim was replaced.

    If several processes try to replace the claim at the same time, only the process that creates the marker file
    continues.
    """
    marker = path.with_name(f"{TAKEOVER}{owner}")
    if not _create(marker, token):
        if has_lapsed(marker):  # the marker's creator died here; the next attempt can succeed
            marker.unlink(missing_ok=True)
        return False
    try:
        if str(read_owner(path).get("token", "damaged")) != owner or not has_lapsed(path):
            return False  # meanwhile another process has taken over the claim
        write_text(path, claim_text(token))
    finally:
        marker.unlink(missing_ok=True)
    return True


def _remove_leftovers(path: Path) -> None:
    """Remove the files of killed processes. Recent files of claims stay, because another process may use them."""
    for file in path.parent.iterdir():
        with suppress(FileNotFoundError):
            recent = abs(path.stat().st_mtime - file.lstat().st_mtime) <= LAPSE_S
            if PART.fullmatch(file.name) or (OF_CLAIM.fullmatch(file.name) and not recent):
                remove(file)


def this_process(token: str) -> Owner:
    """Return a description of this process for `is_dead`, without the host's name."""
    return {"machine": machine(), "pid": os.getpid(), "token": token, "slurm": slurm_job()}


def claim_text(token: str) -> str:
    """Return the content of a claim file that names this process."""
    return json.dumps({"host": socket.gethostname(), **this_process(token)})


@cache
def machine() -> str | None:
    """Return the boot id and the pid namespace, which together identify the machine and the container.

    Return None if the system is not Linux.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return None


def read_owner(path: Path) -> Owner:
    """Return the process that a claim file names, or an empty dict if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    valid = isinstance(content, dict) and TOKEN.fullmatch(str(content.get("token")))
    return content if valid else {}


def is_dead(owner: Mapping[str, Any]) -> bool:
    """Return whether a process is known to be dead.

    Return false if the state is unknown. The state is known for processes of this machine, and for processes that this
    SLURM job started before the job was requeued.
    """
    known = owner.get("machine")
    is_local = owner.get("host") == socket.gethostname() if known is None else known == machine()
    if is_local and not is_alive(owner.get("pid")):
        return True
    match owner.get("slurm"), slurm_job():
        case [before, int(times)], [now, int(times_now)]:
            return bool(before == now and times < times_now)
    return False


def has_lapsed(path: Path) -> bool:
    """Return whether the owner of a claim is known to be dead, or the claim's last heartbeat is too old.

    If the heartbeat is too old, the owner may still be alive. Call `stands_still` to watch for a new heartbeat.
    """
    if is_dead(read_owner(path)):
        return True
    probe = path.with_name(f"{CLOCK}{uuid.uuid4().hex}")
    try:
        beat = path.stat().st_mtime
        probe.touch()
        age = probe.stat().st_mtime - beat  # by the file system's clock
    except FileNotFoundError:  # the claim does not exist
        return True
    finally:
        probe.unlink(missing_ok=True)
    return abs(age) > LAPSE_S  # a heartbeat in the future does not show that the owner is alive


def stands_still(path: Path) -> bool:
    """Watch a claim for `WATCH_S` seconds. Return whether the claim got neither a heartbeat nor a new owner.

    Return true immediately if the owner is known to be dead.
    """
    owner = read_owner(path)
    if is_dead(owner):
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
    return read_owner(path) == owner
