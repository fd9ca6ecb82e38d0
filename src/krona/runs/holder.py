"""The process that holds a claim: how a claim names it, and whether it is still alive."""

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

LAPSE_S = 60.0
WATCH_S = 15.0  # three heartbeats
Holder = dict[str, Any]  # host, machine, pid, token, slurm
TOKEN = re.compile(r"\w{1,64}")  # becomes part of file names


def claim_text(token: str) -> str:
    """Return the content of a claim by this process."""
    return json.dumps({**this_process(), "token": token, "slurm": _slurm_job()})


def this_process() -> Holder:
    """Return the host, machine and pid of this process."""
    return {"host": socket.gethostname(), "machine": machine(), "pid": os.getpid()}


@cache
def machine() -> str | None:
    """Return the boot id and the pid namespace, which differ between containers of one host name; None if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return None


def read_holder(path: Path) -> Holder:
    """Return the holder that a claim names; empty for a missing or damaged claim."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    valid = isinstance(content, dict) and TOKEN.fullmatch(str(content.get("token")))
    return content if valid else {}


def is_local(holder: Mapping[str, Any]) -> bool:
    """Return whether a holder's pid belongs to this machine or container."""
    return holder.get("host") == socket.gethostname() and holder.get("machine") in (None, machine())


def is_alive(pid: Any) -> bool:
    """Return whether this machine has a process with this number."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def is_dead(holder: Mapping[str, Any]) -> bool:
    """Return whether a claim's holder is known to be dead."""
    if is_local(holder) and not is_alive(holder.get("pid")):
        return True
    match holder.get("slurm"), _slurm_job():
        case [before, int(times)], [now, int(times_now)]:
            return bool(before == now and times < times_now)
    return False


def has_lapsed(path: Path) -> bool:
    """Return whether a claim's holder seems to be dead, without watching it."""
    if is_dead(read_holder(path)):
        return True
    age = _age(path)
    return age is None or abs(age) > LAPSE_S  # a heartbeat in the future is no sign of life


def stands_still(path: Path) -> bool:
    """Watch a lapsed claim, unless its holder is known to be dead. Return whether it shows no heartbeat."""
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


def _slurm_job() -> list[Any] | None:
    """Return this process's SLURM job and how often it was requeued; None outside SLURM."""
    number = os.environ.get("SLURM_JOB_ID")  # differs between the jobs of an array
    return None if number is None else [number, int(os.environ.get("SLURM_RESTART_COUNT", "0"))]


def _age(path: Path) -> float | None:
    """Return the seconds since a claim's last heartbeat by the file system's clock; None if the claim is gone."""
    probe = path.with_name(f".now.{uuid.uuid4().hex}")
    try:
        beat = path.stat().st_mtime
        probe.touch()
        return probe.stat().st_mtime - beat
    except FileNotFoundError:
        return None
    finally:
        probe.unlink(missing_ok=True)
