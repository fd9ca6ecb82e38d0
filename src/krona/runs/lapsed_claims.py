"""Find out whether a claim has lapsed, because its owner is dead or its heartbeat has stopped.

The heartbeat is the time stamp of the claim, which the owner of the run updates at regular intervals.
"""

import time
import uuid
from pathlib import Path

from krona.runs.holder import is_dead, read_holder

BEAT_S = 5.0  # the interval between two heartbeats, in seconds
LAPSE_S = 60.0  # seconds; the owner of a claim with an older heartbeat may be dead
WATCH_S = 15.0  # seconds for which a claim with a heartbeat older than LAPSE_S is watched (three heartbeats)


def has_lapsed(path: Path) -> bool:
    """Return whether the owner of a claim is known to be dead, or the claim's last heartbeat is too old.

    If the heartbeat is too old, the owner may still be alive. Call `stands_still` to watch for a new heartbeat.
    """
    if is_dead(read_holder(path)):
        return True
    age = _age(path)
    return age is None or abs(age) > LAPSE_S  # a heartbeat in the future does not show that the owner is alive


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


def _age(path: Path) -> float | None:
    """Return the seconds since a claim's last heartbeat, by the file system's clock, or None without a claim."""
    probe = path.with_name(f".now.{uuid.uuid4().hex}")
    try:
        beat = path.stat().st_mtime
        probe.touch()
        return probe.stat().st_mtime - beat
    except FileNotFoundError:
        return None
    finally:
        probe.unlink(missing_ok=True)
