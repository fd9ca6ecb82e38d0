"""Describe the process that has claimed a run, and find out whether its claim has lapsed.

A claim lapses if its process is dead, or if its heartbeat has stopped. The heartbeat is the time stamp of the claim,
which the process updates at regular intervals.
"""

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from krona.runs.slurm_requeue import slurm_job

Holder = dict[str, Any]  # with the keys host, machine, pid, token and slurm
TOKEN = re.compile(r"\w{1,64}")  # a token is part of file names
BEAT_S = 5.0  # the interval between two heartbeats, in seconds
LAPSE_S = 60.0  # seconds; the owner of a claim with an older heartbeat may be dead
WATCH_S = 15.0  # seconds for which a claim with a heartbeat older than LAPSE_S is watched (three heartbeats)


def this_process(token: str) -> Holder:
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


def read_holder(path: Path) -> Holder:
    """Return the process that a claim file names, or an empty dict if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    valid = isinstance(content, dict) and TOKEN.fullmatch(str(content.get("token")))
    return content if valid else {}


def is_alive(pid: Any) -> bool:
    """Return whether a process with this process id runs on this machine.

    On Linux, a killed process whose parent has not read its exit code yet (a zombie) does not count as alive.
    """
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # not Linux
        return True


def is_dead(holder: Mapping[str, Any]) -> bool:
    """Return whether a process is known to be dead.

    Return false if the state is unknown. The state is known for processes of this machine, and for processes that this
    SLURM job started before the job was requeued.
    """
    known = holder.get("machine")
    is_local = holder.get("host") == socket.gethostname() if known is None else known == machine()
    if is_local and not is_alive(holder.get("pid")):
        return True
    match holder.get("slurm"), slurm_job():
        case [before, int(times)], [now, int(times_now)]:
            return bool(before == now and times < times_now)
    return False


def has_lapsed(path: Path) -> bool:
    """Return whether the owner of a claim is known to be dead, or the claim's last heartbeat is too old.

    If the heartbeat is too old, the owner may still be alive. Call `stands_still` to watch for a new heartbeat.
    """
    if is_dead(read_holder(path)):
        return True
    probe = path.with_name(f".now.{uuid.uuid4().hex}")
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
    holder = read_holder(path)
    if is_dead(holder):
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
    return read_holder(path) == holder
