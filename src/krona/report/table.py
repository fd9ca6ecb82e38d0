"""Cells, rows and tables of a report, whatever the format."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from krona.metrics.statistics import Interval
from krona.report.sections import Section
from krona.report.selection import StoredRun
from krona.runs.constant_predictions import Remark
from krona.runs.studies import Study

AVERAGE = "avg"
SCORES = ("average", "task", "beside")  # kinds of columns that hold scores


@dataclass
class Cell:
    """One number. ``value`` is the mean over ``runs``; without a value, ``missing`` says why there is none."""

    value: float | None = None
    interval: Interval | None = None  # Student's t over seeds, 95 %
    seed_range: Interval | None = None  # lowest and highest of two seeds, of which an interval says little
    test_interval: Interval | None = None  # bootstrap of the test set, 95 %
    paper: float | None = None
    comparable: bool = False  # whether `difference` means something
    best: bool = False
    tied: bool = False  # not significantly different from the best
    p: float | None = None  # against the best, Holm over the column
    runs: list[StoredRun] = field(default_factory=list)
    remarks: dict[Remark, list[int]] = field(default_factory=dict)  # on its score, each with the seeds that it is on
    missing: str | None = None
    command: str | None = None
    digits: int = 2

    @property
    def difference(self) -> float | None:
        known = self.comparable and self.value is not None and self.paper is not None
        return self.value - self.paper if known else None  # type: ignore[operator]

    @property
    def warned(self) -> bool:
        """Whether a reader must be told that the score may mean nothing."""
        return any(remark.warns for remark in self.remarks)

    @property
    def seeds(self) -> list[int]:
        return sorted({run.result.seed for run in self.runs})

    @property
    def over_seeds(self) -> Interval | None:
        """What is shown of the seeds: the range of two, Student's t of more."""
        return self.seed_range or self.interval

    @property
    def half_width(self) -> float | None:
        """The interval over seeds as ±."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / 2


@dataclass(frozen=True)
class Column:
    """``kind``: task, beside (test beside dev), average, params, rank, time (seconds or ratios), launches."""

    key: str
    label: str
    kind: str = "task"
    metric: str = ""  # of a task's scores


@dataclass
class Row:
    key: str
    label: str
    cells: dict[str, Cell] = field(default_factory=dict)
    differs: str = ""  # the settings that tell this row from others of the same label

    @property
    def name(self) -> str:
        return f"{self.label} ({self.differs})" if self.differs else self.label

    def cell(self, column: str) -> Cell:
        """Return the cell of a column; an empty one where the row has none."""
        return self.cells.get(column, Cell())

    @property
    def method(self) -> str:
        """The method of the row's runs; the key of a row without runs."""
        return next((run.result.method for cell in self.cells.values() for run in cell.runs), self.key)


@dataclass
class Table:
    """``section`` is None for a table of the paper's own numbers."""

    name: str
    title: str
    heading: str
    axis: str
    columns: list[Column]
    rows: list[Row]
    section: Section | None = None
    notes: list[str] = field(default_factory=list)
    split: str = "test"  # of its scores, but for columns beside them
    asides: list[tuple[str, str]] = field(default_factory=list)  # what is not shown, and the command that shows it

    def scored_on(self, column: Column) -> str:
        """Which split a column's scores are of."""
        return "test" if column.kind == "beside" else self.split

    def score_columns(self) -> list[Column]:
        """Return the columns that charts show, the average first."""
        known = {key for row in self.rows for key, cell in row.cells.items() if cell.value is not None}
        columns = [column for column in self.columns if column.kind in SCORES and column.key in known]
        return sorted(columns, key=lambda column: SCORES.index(column.kind)) if self.section else []

    def cell(self, row: str, column: str) -> Cell:
        return next(one for one in self.rows if one.key == row).cells[column]


@dataclass(frozen=True)
class Target:
    """Where a report goes. Without a file: the terminal, or a pipe."""

    file: Path | None = None
    width: int | None = None  # of the terminal format; None: as the terminal is, 100 elsewhere
    color: bool | None = None  # of the terminal format; None: where the terminal has it


@dataclass
class Report:
    title: str
    tables: list[Table]
    runs: list[StoredRun] = field(default_factory=list)  # all that the tables were made from
    unfinished: list[StoredRun] = field(default_factory=list)  # failed, interrupted, running
    studies: list[Study] = field(default_factory=list)  # searches that made some of the runs
    problems: list[str] = field(default_factory=list)  # files that could not be used
    empty: tuple[str, str] | None = None  # that there is nothing to show, and the command that makes it


def seed_range(values: Sequence[float]) -> Interval | None:
    """The lowest and the highest of two seeds; None for one, and for three or more, which have an interval."""
    return (min(values), max(values)) if len(values) == 2 else None
