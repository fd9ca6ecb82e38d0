"""Describe the process that has claimed a run, and check whether this process is known to be dead."""

import json
import os
import re
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from krona.runs.slurm_requeue import slurm_job

Holder = dict[str, Any]  # with the keys host, machine, pid, token and slurm
TOKEN = re.compile(r"\w{1,64}")  # a token is part of file names


def claim_text(token: str) -> str:
    """Return the content of a claim file that names this process."""
    process = {"host": socket.gethostname(), "machine": machine(), "pid": os.getpid()}
    return json.dumps({**process, "token": token, "slurm": slurm_job()})


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
    """Return whether this machine has a process with this process id."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def is_dead(holder: Mapping[str, Any]) -> bool:
    """Return whether a process is known to be dead.

    Return false if the state is unknown. The state is known for processes of this machine, and for processes that this
    SLURM job started before the job was requeued.
    """
    is_local = holder.get("host") == socket.gethostname() and holder.get("machine") in (None, machine())
    if is_local and not is_alive(holder.get("pid")):
        return True
    match holder.get("slurm"), slurm_job():
        case [before, int(times)], [now, int(times_now)]:
            return bool(before == now and times < times_now)
    return False
