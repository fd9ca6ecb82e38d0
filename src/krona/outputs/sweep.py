"""Which runs a sweep consists of: a run that another sweep had made before is not made again, and is a part of both."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from krona.files import write_whole
from krona.messages import KronaError, did_you_mean


def note(outputs: Path, sweep: str, run_ids: Iterable[str]) -> None:
    """Keep the ids of a sweep's runs, with those that are kept already.

    At a sweep's start those that others made, so that they count however it ends; at its end all of its runs.
    """
    lines = "".join(f"{run_id}\n" for run_id in sorted({*noted(outputs, sweep), *run_ids}))
    write_whole(_file(outputs, sweep), lambda part: part.write_text(lines, encoding="utf-8"))


def noted(outputs: Path, sweep: str) -> set[str]:
    """The ids that were kept; none where the sweep was never started here."""
    path = _file(outputs, sweep)
    return set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()


def _file(outputs: Path, sweep: str) -> Path:
    return outputs / "sweeps" / f"{sweep}.runs.txt"


def remember(folder: Path, sweep: str, overrides: Sequence[str]) -> None:
    """Keep the command of a sweep, for `krona status SWEEP`."""
    text = json.dumps({"sweep": sweep, "overrides": list(overrides)}) + "\n"
    write_whole(folder / f"{sweep}.json", lambda part: part.write_text(text, encoding="utf-8"))


def remembered(folder: Path, sweep: str) -> list[str]:
    """The command that a sweep was started with last. Raises KronaError where none is known or its file is damaged."""
    path = folder / f"{sweep}.json"
    if not path.is_file():
        there = sorted(p.stem for p in folder.glob("*.json"))
        raise KronaError(f"no sweep {sweep!r} was started here; {did_you_mean(sweep, there)}")
    try:
        overrides = json.loads(path.read_text(encoding="utf-8"))["overrides"]
        if not isinstance(overrides, list):
            raise TypeError(f"overrides is {overrides!r}, no list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise KronaError(
            f"{path} does not hold a sweep's command ({why}): the command itself, typed again, writes it anew "
            "and passes over what is done"
        ) from error
    return [str(item) for item in overrides]
