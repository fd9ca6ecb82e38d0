"""The data classes of a report: its tables, columns, rows and cells. They do not depend on the output format."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import pandas as pd

from krona.messages import plural
from krona.metrics.compare_methods import Sample
from krona.metrics.scores.metric import Answers, Floats
from krona.metrics.statistics import Interval, t_interval
from krona.report.runs import ReportRun, Runs, Section
from krona.runs.studies import Study
from krona.runs.suspicious_scores import ScoreMessage

AVERAGE = "avg"
SCORES = ("average", "task", "other_split")  # kinds of columns that contain scores
NO_SCORES = {"dev": nan, "test": nan}
PAIRS = (  # the columns of a frame of pairs
    "column", "row", "reference", "difference", "low", "high", "p", "p_holm", "p_reference", "p_equivalent",
    "detectable", "seeds", "rows", "error", "df",
)  # fmt: skip


@dataclass(eq=False)
class Cell:
    """A cell of a table. The value is usually a mean over runs. Without a value, ``missing`` states the reason."""

    value: float | None = None
    runs: Runs = ()  # the finished runs or, if the cell has no value, the unfinished runs
    by_seed: dict[int, float] = field(default_factory=dict)  # the score of each seed
    examples: int | None = None  # the size of the test set; None if the runs have no predictions or several test sets
    test_interval: Interval | None = None  # 95 % bootstrap interval over the examples of the test set
    paper: float | None = None  # the paper's number
    comparable: bool = False  # whether the value is comparable with the paper's number
    best: bool = False
    tied: bool = False  # whether the score is not significantly worse than the best score
    compared: bool = False  # whether the cell is compared with the other cells of its column
    p: float | None = None  # corrected p-value of the test against the best cell of the column (`krona.report.cells`)
    messages: dict[ScoreMessage, list[int]] = field(default_factory=dict)  # maps messages about the score to seeds
    missing: str | None = None
    digits: int = 2
    shows_seeds: bool = True  # false if the heading of the column has the number of seeds
    samples: tuple[Sample, ...] = ()  # the data for significance tests by task; empty if the cell cannot be tested
    test_sets: tuple[Any, ...] = ()  # identifies the metrics and the targets of each sample
    sign: int = 0  # 1 or -1: significantly better or worse than the reference row of the column
    answers: tuple[Answers, ...] = ()  # the answers of each run on one test set
    draws: Floats | None = None  # the mean score on each bootstrapped test set

    @property
    def t_interval(self) -> Interval | None:
        """The 95 % interval of the mean over seeds by Student's t, or None for fewer than two seeds."""
        return t_interval([*self.by_seed.values()])

    @property
    def seed_interval(self) -> Interval | None:
        """The interval over seeds that reports show: `t_interval` or, for two scores, their range.

        With two seeds, Student's t interval is too wide to be useful.
        """
        scores = [*self.by_seed.values()]
        return (min(scores), max(scores)) if len(scores) == 2 else self.t_interval

    @property
    def difference(self) -> float | None:
        """The value minus the paper's number, or None if they are not comparable."""
        if not self.comparable or self.value is None or self.paper is None:
            return None
        return self.value - self.paper

    @property
    def warned(self) -> bool:
        """True if one of the messages is a warning. The score may then be meaningless."""
        return any(message.warns for message in self.messages)

    @property
    def failed(self) -> bool:
        """True if too many of the predictions are invalid. Such a score is not tested against the best score."""
        return any(message.invalid for message in self.messages)

    @property
    def tested_seeds(self) -> int:
        """The smallest number of seeds of the samples, or 0 without samples."""
        return min((sample.seeds for sample in self.samples), default=0)

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    key: str
    label: str
    # task, average, other_split (test scores in a table of dev scores), paper, or a quantity's name (costs.py)
    kind: str = "task"
    metric: str = ""  # the names of the task's metrics
    examples: tuple[int, ...] = ()  # sizes of the data sets on which the cells were scored, in ascending order
    seeds: int | None = None  # the number of seeds, if it is that of all cells

    @property
    def task(self) -> str:
        """The name of the column's task."""
        return self.key.rpartition(" ")[0] if self.kind == "other_split" else self.key

    @property
    def details(self) -> list[str]:
        """The lines below the label, such as ``acc`` and ``n = 277``."""
        sizes = [f"{size:,}" for size in self.examples]
        counted = [f"n = {' to '.join(dict.fromkeys([sizes[0], sizes[-1]]))}"] if sizes else []
        seeds = [] if self.seeds is None else [plural(self.seeds, "seed")]
        return [line for line in (self.metric, *seeds, *counted) if line]


@dataclass(eq=False)
class Row:
    """A row of a table. Rows with the same method and different settings have the same key."""

    key: str  # the key of the row in the layout
    label: str = ""
    settings: dict[str, str] = field(default_factory=dict)  # the settings that differ from other rows with this label
    differs: str = ""  # these settings as text
    runs: dict[str, list[ReportRun]] = field(default_factory=dict)  # all runs by task
    first: dict[str, ReportRun] = field(default_factory=dict)  # one representative run by task
    cells: dict[str, Cell] = field(default_factory=dict)  # all cells by column key

    @property
    def name(self) -> str:
        return f"{self.label} ({self.differs})" if self.differs else self.label

    @property
    def method(self) -> str:
        """The method of the row's first run or, without runs, the key of the row."""
        return next((run.method for run in self.first.values()), self.key)

    @property
    def done(self) -> list[ReportRun]:
        """All finished runs of the row."""
        return [run for runs in self.runs.values() for run in runs if run.done]

    def cell(self, column: str) -> Cell:
        """Return the cell of a column. If the row has no cell there, return an empty cell."""
        return self.cells.get(column) or Cell()


def run_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return a line for each run of some rows: its row's position, task, seed, scores and costs. NaN: unknown."""
    lines = [
        {"row": i, "task": task, "seed": run.seed, "run": run, "done": run.done, **NO_SCORES, **run.scores,
         **run.costs}
        for i, row in enumerate(rows) for task, runs in row.runs.items() for run in runs
    ]  # fmt: skip
    return pd.DataFrame(lines)


@dataclass(frozen=True)
class BestOfK:
    """The expected test scores of methods on one task after k trials of tuning (`krona.report.best_of_k`)."""

    task: str  # the label of the task
    points: pd.DataFrame  # method, label, k, score, low, high; for all k up to the number of settings of each method
    pairs: pd.DataFrame  # k and `PAIRS`; for some k
    summary: pd.DataFrame  # both as text, for some k


@dataclass(frozen=True)
class Note:
    """A sentence, and an optional command after it."""

    text: str
    command: str = ""
    warns: bool = False  # whether the note is a warning about a score


@dataclass
class Table:
    """A table of a report. In tables of the paper's own numbers and of benchmarks, ``section`` is None."""

    name: str
    title: str
    heading: str
    axis: str
    columns: list[
        Column
    ]  # the parameters, the tasks (`task_order`), their mean, the other quantities (`Layout.extras`)
    rows: list[Row]
    section: Section | None = None
    warning: str | None = None  # against misuse of the numbers
    comparable: bool = False  # whether some of the runs are comparable with the paper's numbers
    split: str = "test"  # the split of the scores in all columns except those of the kind "other_split"
    compares_all_rows: bool = True  # false if only the row with the best dev score of each method is compared
    methods: Sequence[str] = ()  # the methods of all tables of the report, which determine the colours
    notes: list[Note] = field(default_factory=list)
    recipes: pd.DataFrame | None = None  # the hyper-parameters of the runs beside the paper's, as text
    shown: list[Column] = field(default_factory=list)  # the columns of all formats except CSV
    best_of_k: list[BestOfK] = field(default_factory=list)  # of the tasks on which a method has a grid
    runs: pd.DataFrame = field(default_factory=pd.DataFrame)  # a line for each run (`run_frame`)
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)  # a line for each cell (`krona.report.cells.cell_frame`)
    # A line for each tested pair of rows: row minus reference in points, with its 95 % interval. p_holm is corrected
    # over all pairs, and p_reference over the pairs with a reference row (NaN for other pairs). detectable is the true
    # difference that the test detects in 80 % of cases. seeds are the numbers of seeds of both rows.
    pairs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*PAIRS]))
    reference_pairs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*PAIRS]))  # sorted by column
    references: dict[str, Row] = field(default_factory=dict)  # the reference row of each column that has one

    @property
    def task_columns(self) -> list[Column]:
        return [column for column in self.columns if column.kind == "task"]

    @property
    def score_columns(self) -> list[Column]:
        """The score columns to draw in charts, with the average first. A table without a section has no charts."""
        known = {key for row in self.rows for key, cell in row.cells.items() if cell.value is not None}
        columns = [column for column in self.columns if column.kind in SCORES and column.key in known]
        return sorted(columns, key=lambda column: SCORES.index(column.kind)) if self.section else []

    def grid(self, columns: Sequence[Column]) -> Iterator[tuple[Row, list[Any]]]:
        """Yield each row and its lines of the frame ``cells`` for some columns."""
        cells = {line.Index: line for line in self.cells.itertuples()}
        for i, row in enumerate(self.rows):
            yield row, [cells[i, column.key] for column in columns]

    def cell(self, row: str, column: str) -> Cell:
        """Return the cell in the row and the column with these keys."""
        return next(candidate for candidate in self.rows if candidate.key == row).cells[column]


@dataclass
class Report:
    title: str
    tables: list[Table]
    runs: Runs  # the finished runs of the tables
    unfinished: Runs  # the failed, interrupted and running runs
    counts: str = ""  # the number of runs in each state
    studies: list[Study] = field(default_factory=list)  # searches to which some of the runs belong
    problems: list[str] = field(default_factory=list)  # messages about files that could not be used
    empty: Note | None = None  # the note of a report without finished runs, with a command to start runs

    @property
    def methods(self) -> list[str]:
        """The methods of all rows."""
        return [*dict.fromkeys(row.method for table in self.tables for row in table.rows)]
