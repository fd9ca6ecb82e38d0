"""The files of a sweep: the ids of its runs, those that another sweep made included, and its command."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from krona.files import remove_below, write_whole
from krona.messages import KronaError, did_you_mean, file_name

HYDRAS_OWN = re.compile(r"-|[+~]*hydra\b|[^=]*@hydra\b")  # options, and settings that could have Hydra import a module


def name_of(overrides: Iterable[str]) -> str:
    """Return the name of a sweep without a name: the same for the same command."""
    return f"sweep-{hashlib.sha256(json.dumps(sorted(overrides)).encode()).hexdigest()[:6]}"


def save_run_ids(outputs: Path, sweep: str, run_ids: Iterable[str]) -> None:
    """Add to the ids of a sweep's runs.

    A sweep adds those that others made when it starts, so that they count however it ends, and all its runs at its end.
    """
    lines = "".join(f"{run_id}\n" for run_id in sorted({*load_run_ids(outputs, sweep), *run_ids}))
    write_whole(_ids_file(outputs, sweep), lambda part: part.write_text(lines, encoding="utf-8"))


def load_run_ids(outputs: Path, sweep: str) -> set[str]:
    """Return the saved ids; none if the sweep was never started here."""
    path = _ids_file(outputs, sweep)
    try:
        found = set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
        for run_id in found:
            file_name("a run", run_id)
    except (OSError, ValueError, KronaError) as error:
        raise KronaError(
            f"{path} does not hold the ids of a sweep's runs ({error}): remove it; the sweep's command writes it anew"
        ) from error
    return found


def _ids_file(outputs: Path, sweep: str) -> Path:
    file_name("sweep", sweep)
    return outputs / "sweeps" / f"{sweep}.runs.txt"


def command_file(folder: Path, sweep: str) -> Path:
    return folder / f"{sweep}.json"


def save_command(folder: Path, sweep: str, overrides: Sequence[str]) -> None:
    """Save a sweep's overrides, for `krona status SWEEP`."""
    file_name("sweep", sweep)
    text = json.dumps({"sweep": sweep, "overrides": list(overrides)}) + "\n"
    write_whole(command_file(folder, sweep), lambda part: part.write_text(text, encoding="utf-8"))


def saved(folder: Path, sweep: str) -> dict[Path, str | None]:
    """Return the content of a sweep's files; None for a missing file."""
    files = (command_file(folder, sweep), _ids_file(folder.parent, sweep))
    return {path: path.read_text(encoding="utf-8") if path.is_file() else None for path in files}


def restore(before: dict[Path, str | None]) -> None:
    """Restore the content of ``saved`` after a command whose runs were all refused."""
    for path, text in before.items():
        if text is None:
            remove_below(path.parents[1], path)
        else:
            write_whole(path, partial(Path.write_text, data=text, encoding="utf-8"))


def load_command(folder: Path, sweep: str) -> list[str]:
    """Return the overrides that a sweep was last started with. Raise `KronaError` if its file is missing or damaged."""
    file_name("sweep", sweep)
    path = command_file(folder, sweep)
    if not path.is_file():
        there = sorted(p.stem for p in folder.glob("*.json"))
        raise KronaError(f"no sweep {sweep!r} was started here; {did_you_mean(sweep, there)}")
    try:
        overrides = json.loads(path.read_text(encoding="utf-8"))["overrides"]
        if not isinstance(overrides, list):
            raise TypeError(f"overrides is {overrides!r}, no list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KronaError(
            f"{path} does not hold a sweep's command ({type(error).__name__}: {error}): run the sweep's command again; "
            "it writes the file anew and skips finished runs"
        ) from error
    if wrong := next((item for item in map(str, overrides) if HYDRAS_OWN.match(item)), None):
        raise KronaError(
            f"{path}: a sweep's command can't set Hydra itself, as {wrong} does: nothing of it was composed"
        )
    return [str(item) for item in overrides]
