"""A user's own task, and its data files."""

from pathlib import Path
from typing import Any

from krona import tasks
from krona.tasks import Data, Split, Splits, Task
from krona.tasks.rows import OfficialSplit

MOODS = ["sad", "calm", "glad"]


def load(task: Task, *, prefix: bool = False, **data: Any) -> Splits:
    return tasks.load(task, Data(**data), prefix=prefix)


def mood(files: dict[str, str] | str, **changes: Any) -> Task:
    values = {"name": "mood", "columns": ["text"], "labels": MOODS, "metrics": ["accuracy"], "files": files}
    return Task.from_config(values | changes)


def read(path: Path, *, task: dict[str, Any] | None = None, **data: Any) -> Splits:
    """Return the splits that a run would read from one file or folder."""
    return load(mood(**({"files": path.name} | (task or {}))), kind="hub", path=str(path.parent), **data)


def lines(count: int, *, sep: str = ",", start: int = 0) -> list[str]:
    """Return a header line and ``count`` rows with different texts."""
    return [f"text{sep}label", *(f"day {i}{sep}{MOODS[i % 3]}" for i in range(start, start + count))]


def texts(splits: Splits) -> dict[str, str]:
    """Return a dict from the id of each row to its source text."""
    return {
        row: source
        for split in (splits.train, splits.dev, splits.test)
        for row, source in zip(split.ids, split.sources, strict=True)
    }


def made_up(**rows: int) -> Splits:
    """Return splits with one row each, and official splits with the given row counts."""
    some = Split(ids=["a"], sources=["a"], targets=["0"], texts=[("a",)])
    official = {name: OfficialSplit(name=name, rows=count) for name, count in rows.items()}
    return Splits(train=some, dev=some, test=some, official=official)
