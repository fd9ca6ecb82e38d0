"""Left-overs of processes that are dead: their claims, half-written files, and checkpoints of runs that are done."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from krona.folders import is_below, remove_below
from krona.outputs import claim
from krona.outputs.holder import gone, read

PART = re.compile(  # beside a run's files: what is written whole, and the small files of claims
    r"\.(result\.json|predictions\.jsonl|adapter\.safetensors|metrics\.csv|tracked\.jsonl|last\.ckpt|claim\.json)\..+"
    r"|\.(claim|now|takeover)\..+|\.own-\w+"
)
ELSEWHERE = {  # folders of outputs/ that several runs write to, and the names of what is half-written there
    ".": re.compile(r"\.report\.html\..+"),
    ".index": re.compile(r"\.\w+\.json\..+"),
    ".cache/tokens": re.compile(r"\.[0-9a-f]{24}-.+"),
    "sweeps": re.compile(r"\..+\.(json|runs\.txt)\..+"),
}
OLD_S = 60.0  # seconds: a younger one of a run may be that of a process that is about to take it over
ABANDONED_S = 3600.0  # seconds: elsewhere no claim tells whether its process lives


@dataclass(frozen=True)
class Held:
    """A run's claim: whether its owner lives, as far as `krona.outputs.claim` can tell, or is dead on this machine."""

    folder: Path
    holder: dict[str, Any]
    live: bool
    dead: bool


def claim_of(folder: Path) -> Held | None:
    """The claim on a run's folder; None if there is none. To measure its age, a probe is put there for a moment."""
    path = folder / "claim.json"
    if not path.is_file():
        return None
    holder = read(path)
    try:
        live = claim.owner(folder) is not None
    except OSError:  # the folder may only be read: as `krona status` has it
        live = True
    return Held(folder, holder, live, dead=not live and gone(holder))


def of_run(folder: Path, *, done: bool) -> list[Path]:
    """What dead processes have left in a run's folder; nothing where its owner lives or may wake up."""
    if folder.is_symlink():  # the run may be another's
        return []
    held = claim_of(folder)
    if held is not None and not held.dead:
        return []
    found = [path for path in _matching(folder, PART) if _age(path) > OLD_S]
    if done and (checkpoint := folder / "last.ckpt").is_file():
        found.append(checkpoint)
    return [*([folder / "claim.json"] if held else []), *found]


def elsewhere(outputs: Path) -> list[Path]:
    """What is half-written in the folders that runs share, and has not changed for an hour."""
    return [
        path
        for name, pattern in ELSEWHERE.items()
        for path in _matching(outputs / name, pattern)
        if _age(path) > ABANDONED_S and is_below(outputs, path)
    ]


def remove_of_run(folder: Path, *, done: bool) -> list[Path]:
    """Remove `of_run` while this process has the claim, so that nobody resumes the run meanwhile.

    Raises:
        KronaError: the folder can't be written to.
    """
    wanted = of_run(folder, done=done)
    if not wanted or (held := claim.claim(folder)) is None:  # another has just taken it over
        return []
    try:
        for path in wanted:
            if path.name != "claim.json":
                remove_below(folder.parent, path)
    finally:
        held.release()
    return [path for path in wanted if not os.path.lexists(path)]


def remove_elsewhere(outputs: Path) -> list[Path]:
    """Remove `elsewhere`."""
    return [path for path in elsewhere(outputs) if remove_below(outputs, path)]


def _matching(folder: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:  # not there, or not to be read
        yield from sorted(Path(entry.path) for entry in entries if pattern.fullmatch(entry.name))


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0
