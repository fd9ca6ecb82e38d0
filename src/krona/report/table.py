"""Cells, rows and tables of a report, independent of the format."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats
from krona.metrics.statistics import Interval, SwapTest, t_interval
from krona.report.sections import Section
from krona.report.stored_runs import StoredRun
from krona.runs.constant_predictions import Remark
from krona.runs.studies import Study

AVERAGE = "avg"
SCORES = ("average", "task", "beside")  # kinds of columns that hold scores


@dataclass(eq=False)
class Cell:
    """One number: a mean over runs. Without a value, ``missing`` says why."""

    value: float | None = None
    runs: list[StoredRun] = field(default_factory=list)
    by_seed: dict[int, float] = field(default_factory=dict)
    answers: dict[int, Answers] = field(default_factory=dict)  # empty if the seeds have different test sets
    draws: Floats | None = None  # the mean score on bootstrapped test sets
    test_interval: Interval | None = None  # bootstrap of the test set, 95 %
    paper: float | None = None
    comparable: bool = False  # whether `difference` means something
    best: bool = False
    tied: bool = False  # not significantly different from the best
    p: float | None = None  # against the best, Holm over the column
    remarks: dict[Remark, list[int]] = field(default_factory=dict)  # on its score, each with its seeds
    tests: dict[int, SwapTest | None] = field(default_factory=dict)  # against other cells, by their ids
    missing: str | None = None
    command: str | None = None  # makes what is missing
    digits: int = 2

    @property
    def interval(self) -> Interval | None:
        """Student's t interval of the mean over seeds, 95 %."""
        return t_interval([*self.by_seed.values()])

    @property
    def over_seeds(self) -> Interval | None:
        """The range of two seeds, Student's t interval of more."""
        return seed_interval([*self.by_seed.values()])

    @property
    def difference(self) -> float | None:
        """The value minus the paper's."""
        if not self.comparable or self.value is None or self.paper is None:
            return None
        return self.value - self.paper

    @property
    def warned(self) -> bool:
        """Whether the score may mean nothing."""
        return any(remark.warns for remark in self.remarks)

    @property
    def seeds(self) -> list[int]:
        return sorted({run.result.seed for run in self.runs})


@dataclass(frozen=True)
class Column:
    """``kind``: task, beside (test beside dev), average, or the name of a quantity (`krona.report.costs`)."""

    key: str
    label: str
    kind: str = "task"
    metric: str = ""  # of a task's scores
    examples: tuple[int, ...] = ()  # numbers of examples of the sets that its cells were scored on

    @property
    def details(self) -> list[str]:
        """The lines below the label: ``acc`` and ``n = 277``."""
        sizes = [f"{size:,}" for size in self.examples]
        counted = [f"n = {' to '.join(dict.fromkeys([sizes[0], sizes[-1]]))}"] if sizes else []
        return [line for line in (self.metric, *counted) if line]


@dataclass
class Row:
    key: str
    label: str
    cells: dict[str, Cell] = field(default_factory=dict)
    differs: str = ""  # the settings that distinguish this row from others of the same label

    @property
    def name(self) -> str:
        return f"{self.label} ({self.differs})" if self.differs else self.label

    @property
    def method(self) -> str:
        """The method of the row's runs; the key of a row without runs."""
        return next((run.result.method for cell in self.cells.values() for run in cell.runs), self.key)

    def cell(self, column: str) -> Cell:
        """Return the cell of a column; an empty one where the row has none."""
        return self.cells.get(column, Cell())


@dataclass
class Table:
    """``section`` is None for a table of the paper's own numbers or of a benchmark."""

    name: str
    title: str
    heading: str
    axis: str
    columns: list[Column]
    rows: list[Row]
    section: Section | None = None
    notes: list[str] = field(default_factory=list)
    power: list[str] = field(default_factory=list)  # the smallest differences that its tests can find
    split: str = "test"  # of its scores, except for columns beside them
    asides: list[tuple[str, str]] = field(default_factory=list)  # runs left out, with the command that shows them

    @property
    def caution(self) -> str | None:
        return self.section.caution if self.section else None

    @property
    def score_columns(self) -> list[Column]:
        """The columns that charts show, the average first."""
        known = {key for row in self.rows for key, cell in row.cells.items() if cell.value is not None}
        columns = [column for column in self.columns if column.kind in SCORES and column.key in known]
        return sorted(columns, key=lambda column: SCORES.index(column.kind)) if self.section else []

    def scored_on(self, column: Column) -> str:
        """Return the split that a column's scores are of."""
        return "test" if column.kind == "beside" else self.split

    def cell(self, row: str, column: str) -> Cell:
        """Return a cell by the keys of its row and column."""
        return next(one for one in self.rows if one.key == row).cells[column]


@dataclass(frozen=True)
class Target:
    """Where a report goes. Without a file: the terminal, or a pipe."""

    file: Path | None = None
    width: int | None = None  # of the terminal format; None: as the terminal is, otherwise 100
    color: bool | None = None  # of the terminal format; None: where the terminal has it


@dataclass
class Report:
    title: str
    tables: list[Table]
    runs: list[StoredRun] = field(default_factory=list)  # all that the tables were made from
    unfinished: list[StoredRun] = field(default_factory=list)  # failed, interrupted, running
    studies: list[Study] = field(default_factory=list)  # searches that made some of the runs
    problems: list[str] = field(default_factory=list)  # files that could not be used
    empty: tuple[str, str] | None = None  # a sentence that there is nothing to show, and the command that makes it


def seed_interval(values: Sequence[float]) -> Interval | None:
    """Return the range of two seeds, of which an interval says little, and Student's t interval of more (95 %)."""
    return (min(values), max(values)) if len(values) == 2 else t_interval(values)
