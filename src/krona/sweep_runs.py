"""Which runs a sweep consists of: a run that another sweep had made before is not made again, and is a part of both."""

from collections.abc import Iterable
from pathlib import Path

from krona.results import write_whole


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
