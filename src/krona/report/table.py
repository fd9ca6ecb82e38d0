"""The data classes of a report: its tables, columns, rows and cells. They do not depend on the output format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from krona.metrics.scores.metric import Answers, Floats
from krona.metrics.statistics import Interval, SwapTest, bootstrap, swap_test, t_interval, task_seed
from krona.paper import PaperTable
from krona.report.sections import Section
from krona.report.stored_runs import StoredRun, finished
from krona.runs.studies import Study
from krona.runs.suspicious_scores import Remark

AVERAGE = "avg"
ALPHA = 0.05  # the level of all tests
SCORES = ("average", "task", "beside")  # kinds of columns that contain scores


@dataclass(eq=False)
class Cell:
    """A cell of a table. Its value is usually a mean over runs. If it has no value, ``missing`` contains the reason."""

    value: float | None = None
    runs: list[StoredRun] = field(default_factory=list)
    by_seed: dict[int, float] = field(default_factory=dict)  # the score of each seed
    split: str = ""  # the split of the score
    sampled: list[StoredRun] = field(default_factory=list)  # the runs whose predictions are resampled and compared
    examples: int | None = None  # the size of their test set; None if they have no predictions, or several test sets
    test_interval: Interval | None = None  # 95 % bootstrap interval over the examples of the test set
    paper: float | None = None  # the paper's number
    comparable: bool = False  # true if the value is comparable with the paper's number
    best: bool = False
    tied: bool = False  # not significantly different from the best
    compared: bool = False  # compared with the best of the column, if a test is possible
    p: float | None = None  # p-value against the best of the column, with Holm's correction over the column
    remarks: dict[Remark, list[int]] = field(default_factory=dict)  # remarks on the score, each with its seeds
    tests: dict[int, SwapTest | None] = field(default_factory=dict)  # tests against other cells, by their id()
    missing: str | None = None
    command: str | None = None  # the command that starts the missing runs; "" if it is not known
    digits: int = 2

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the mean over seeds by Student's t, or None for fewer than two seeds."""
        return t_interval([*self.by_seed.values()])

    @property
    def over_seeds(self) -> Interval | None:
        """The interval that the formats show (`seed_interval`)."""
        return seed_interval([*self.by_seed.values()])

    @property
    def difference(self) -> float | None:
        """The value minus the paper's number, or None if they are not comparable."""
        if not self.comparable or self.value is None or self.paper is None:
            return None
        return self.value - self.paper

    @property
    def warned(self) -> bool:
        """True if one of the remarks is a warning, which means that the score may be meaningless."""
        return any(remark.warns for remark in self.remarks)

    @property
    def failed(self) -> bool:
        """True if too many of the predictions are invalid. Such a score is not tested against the best."""
        return any(remark.invalid for remark in self.remarks)

    @property
    def seeds(self) -> list[int]:
        return sorted({run.result.seed for run in self.runs})

    @property
    def sources(self) -> tuple[Any, ...]:
        """The values that determine everything that is computed from the predictions."""
        return self.split, self.seeds, [run.digest for run in self.sampled]

    @cached_property
    def answers(self) -> dict[int, Answers]:
        """The targets and predictions of each seed. The dict is empty if the seeds have different test sets."""
        found = {
            run.result.seed: run.predictions[0][self.split] for run in self.sampled if self.split in run.predictions[0]
        }
        first = next(iter(found.values()), None)
        same = first is not None and all(np.array_equal(one.truth, first.truth) for one in found.values())
        return found if same else {}

    @cached_property
    def draws(self) -> Floats:
        """The mean score on each bootstrapped test set."""
        return bootstrap(list(self.answers.values()), self.runs[0].metrics)

    def compute(self, kind: str, others: Any, make: Callable[[], Any]) -> Any:
        """Return the stored result of ``make``, or call ``make`` if there is none. See `ComputedValues.get`.

        The result must depend only on the `sources` of this cell and on ``others``.
        """
        return self.runs[0].shared.computed.get(kind, (self.sources, others), make)

    def test_against(self, other: "Cell") -> SwapTest | None:
        """Return the paired test of two cells on their common seeds.

        Return None if the cells have no common seed, different metrics, or different test sets. The test is stored,
        because the same pair is tested for the column, for the average and for the summary over tasks.
        """
        if id(other) not in self.tests:
            self.tests[id(other)] = self._test(other)
        return self.tests[id(other)]

    def _test(self, other: "Cell") -> SwapTest | None:
        metrics = self.runs[0].metrics
        if metrics != other.runs[0].metrics:
            return None
        a, b = common_answers(self, other)
        try:
            return swap_test(a, b, metrics, seed=task_seed(self.runs[0].result.task))
        except ValueError:  # no common seed, or different test sets
            return None


def common_answers(a: Cell, b: Cell) -> tuple[list[Answers], list[Answers]]:
    """Return the answers of two cells for their common seeds."""
    seeds = sorted(a.answers.keys() & b.answers.keys())
    return [a.answers[seed] for seed in seeds], [b.answers[seed] for seed in seeds]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    key: str
    label: str
    kind: str = "task"  # task, average, beside (test scores in a table of dev scores), or a quantity's name (costs.py)
    metric: str = ""  # the names of the task's metrics
    examples: tuple[int, ...] = ()  # sizes of the data sets on which the cells were scored, in ascending order

    @property
    def details(self) -> list[str]:
        """The lines below the label, such as ``acc`` and ``n = 277``."""
        sizes = [f"{size:,}" for size in self.examples]
        counted = [f"n = {' to '.join(dict.fromkeys([sizes[0], sizes[-1]]))}"] if sizes else []
        return [line for line in (self.metric, *counted) if line]


@dataclass(eq=False)
class Row:
    """A row of a table. Rows of a method that differ in settings have the same key."""

    key: str  # the key of the row in the layout
    label: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)
    differs: str = ""  # the settings that distinguish this row from others of the same label, as text
    settings: dict[str, str] = field(default_factory=dict)  # these settings by key
    runs: dict[str, list[StoredRun]] = field(default_factory=dict)  # by task
    apart: frozenset[str] = frozenset()  # tasks whose runs are in other rows, one for each setting

    @property
    def all_runs(self) -> list[StoredRun]:
        return [run for found in self.runs.values() for run in found]

    @property
    def first(self) -> StoredRun | None:
        """A finished run if there is one, because it has recorded the shape that it used. Otherwise the first run."""
        runs = self.all_runs
        return next(iter(finished(runs) or runs), None)

    def representative(self, task: str) -> StoredRun:
        """Return a run on a task whose settings stand for all runs of the row. A finished run is preferred."""
        return (finished(self.runs[task]) or self.runs[task])[0]

    @property
    def name(self) -> str:
        return f"{self.label} ({self.differs})" if self.differs else self.label

    @property
    def method(self) -> str:
        """The method of the row's first run. Without runs, it is the key of the row."""
        return next((run.result.method for cell in self.cells.values() for run in cell.runs), self.key)

    def cell(self, column: str) -> Cell:
        """Return the cell of a column. If the row has no cell there, return an empty cell."""
        return self.cells.get(column) or Cell()

    def add_paper(self, paper: PaperTable) -> None:
        """Add the paper's numbers to the cells of comparable runs. In the column of parameters, show no difference."""
        for key, cell in self.cells.items() if not self.settings else ():
            if all(run.section.comparable for run in cell.runs):
                cell.paper = paper.value(self.key, "training_time" if key == "time" else key)
                cell.comparable = key != "params"


@dataclass(frozen=True)
class Note:
    """A sentence and an optional command after it. Notes of the kinds ``warning`` and ``remark`` are about scores."""

    text: str
    command: str = ""
    kind: Literal["warning", "remark", "power", "tasks", "note", "missing"] = "note"


@dataclass
class Table:
    """A table of a report. Its ``section`` is None if it shows the paper's own numbers or a benchmark."""

    name: str
    title: str
    heading: str
    axis: str
    columns: list[Column]
    rows: list[Row]
    section: Section | None = None
    notes: list[str] = field(default_factory=list)
    other_notes: list[Note] = field(default_factory=list)  # on power, on all tasks together, and on left-out runs
    split: str = "test"  # the split of its scores, except in columns of the kind "beside"

    @property
    def caution(self) -> str | None:
        return self.section.caution if self.section else None

    @property
    def task_columns(self) -> list[Column]:
        return [column for column in self.columns if column.kind == "task"]

    @property
    def score_columns(self) -> list[Column]:
        """The columns of scores for charts, with the average first. The list is empty for a table without section."""
        known = {key for row in self.rows for key, cell in row.cells.items() if cell.value is not None}
        columns = [column for column in self.columns if column.kind in SCORES and column.key in known]
        return sorted(columns, key=lambda column: SCORES.index(column.kind)) if self.section else []

    def cell(self, row: str, column: str) -> Cell:
        """Return the cell with these keys of a row and a column."""
        return next(one for one in self.rows if one.key == row).cells[column]


@dataclass
class Report:
    title: str
    tables: list[Table]
    runs: list[StoredRun] = field(default_factory=list)  # the finished runs of the tables
    counts: str = ""  # the number of runs in each state
    unfinished: list[StoredRun] = field(default_factory=list)  # failed, interrupted, running
    studies: list[Study] = field(default_factory=list)  # searches to which some of the runs belong
    problems: list[str] = field(default_factory=list)  # files that could not be used
    empty: Note | None = None  # for a report without runs, with the command to start them


def seed_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % interval over seeds by Student's t. For two scores, return their range instead.

    With two seeds, Student's t interval is too wide to be useful. A single score has no interval (None).
    """
    return (min(values), max(values)) if len(values) == 2 else t_interval(values)
