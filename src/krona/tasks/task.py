"""Tasks: the columns of the source text, the labels of the target text, and the metrics.

A row of a data file becomes two strings, `source` and `target`. A task is one YAML of `conf/task/`; its keys are the
fields of `Task`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from krona.messages import KronaError, did_you_mean
from krona.metrics.scores import METRICS, fitting
from krona.tasks.task_config import known_keys, plain_values

SPLITS = ("halve_validation", "carve_train", "mnli", "given")
FILE_KEYS = ("train", "dev", "test")
LARGEST = 1e15  # of a regression's targets: beyond it a float has no decimals
FIELD = re.compile(r"\{([^{}]*)\}")


class BadRowError(Exception):
    """What is wrong with one row; the reader adds the file and the line."""


@dataclass(frozen=True, kw_only=True)
class TsvLayout:
    """A task's files in GLUE's own download.

    folder: the task's folder in the download.
    header: the columns of files that have no header line (CoLA); None: the first line names them.
    columns: this project's column → the file's column, for those whose names differ.
    files: split → file name.
    """

    folder: str
    header: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=lambda: {"train": "train.tsv", "validation": "dev.tsv"})


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task.

    columns: the one or two text columns.
    template: the source text, with `{column}` for a column's text.
    labels: word → id; the target is the id as text. None: a regression, the target is a number of one decimal.
    metrics: their mean on dev chooses the epoch.
    score: those of `metrics` whose mean is in the tables (MRPC: F1 alone).
    split: the division into dev and test (`splits.py`); own files and sample tasks are `given`.
    prefix: whether the task's name is put before the source; None: the method decides.
    sample: name of a sample task. files: a user's own. hub_name: GLUE's configuration on the Hub. tsv: GLUE's files.
    """

    name: str
    columns: tuple[str, ...]
    template: str
    labels: Mapping[str, int] | None
    metrics: tuple[str, ...]
    score: tuple[str, ...]
    split: str = "given"
    label_column: str = "label"
    prefix: bool | None = None
    sample: str | None = None
    files: Mapping[str, str] | None = None
    hub_name: str | None = None
    tsv: TsvLayout | None = None

    def __post_init__(self) -> None:
        self._check_text()
        self._check_labels()
        self._check_metrics()
        if self.split not in SPLITS:
            raise self._wrong(f"split '{self.split}': {did_you_mean(self.split, SPLITS)}")
        for key in self.files or ():
            if key not in FILE_KEYS:
                raise self._wrong(f"files.{key}: {did_you_mean(key, FILE_KEYS)}")
        if self.files is not None and "train" not in self.files:
            raise self._wrong("files has no 'train': name at least files.train")

    def _wrong(self, what: str) -> KronaError:
        return KronaError(f"task {self.name}: {what}")

    def _check_text(self) -> None:
        if not 1 <= len(self.columns) <= 2:
            raise self._wrong(f"columns names {len(self.columns)} columns: a task has one or two text columns")
        used = FIELD.findall(self.template)
        for name in used:
            if name not in self.columns:
                near = did_you_mean(name, self.columns)
                raise self._wrong(f"the template uses {{{name}}}, which is not in columns: {near}")
        for name in self.columns:
            if name not in used:
                raise self._wrong(
                    f"the template '{self.template}' leaves out the column '{name}': write {{{name}}} for its text"
                )

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        if len(self.labels) < 2:
            raise self._wrong(f"at least two classes, labels names {len(self.labels)}")
        if len(set(self.labels.values())) < len(self.labels):
            raise self._wrong(f"two labels share one id: {dict(self.labels)}")

    def _check_metrics(self) -> None:
        if not self.metrics:
            raise self._wrong(f"metrics is empty: choose from {', '.join(METRICS)}")
        for metric in self.metrics:
            try:
                fitting(metric, len(self.labels or ()))
            except ValueError as error:
                raise self._wrong(str(error)) from error
        for metric in self.score:
            if metric not in self.metrics:
                raise self._wrong(f"score '{metric}': {did_you_mean(metric, self.metrics)}")
        if not self.score:
            raise self._wrong(f"score is empty: name one of {', '.join(self.metrics)}")

    @property
    def kind(self) -> str:
        """Kind of its scores: "glue", "sample" or "own"."""
        if self.files is not None:
            return "own"
        return "sample" if self.sample is not None else "glue"

    def source(self, row: Mapping[str, Any], *, prefix: bool = False) -> str:
        """The source text of a row; raises BadRowError where a text is missing."""
        for name in self.columns:
            if row.get(name) is None:
                raise BadRowError(f"the column '{name}' is empty (null)")
        text = FIELD.sub(lambda match: str(row[match[1]]), self.template)
        return f"{self.sample or self.name} {text}" if prefix else text

    def target(self, row: Mapping[str, Any]) -> str:
        """The label of a row as text; raises BadRowError for a label outside the set."""
        value = row.get(self.label_column)
        return _number(value) if self.labels is None else str(self._label_id(value, self.labels))

    def _label_id(self, value: object, labels: Mapping[str, int]) -> int:
        text = _label_text(value)
        if text in labels:
            return labels[text]
        # Where the words are numbers themselves ("1" to "5"), a number is always a word and never an id.
        ids_allowed = not any(word.lstrip("-").isdigit() for word in labels)
        if ids_allowed:
            for label_id in labels.values():
                if text == str(label_id):
                    return label_id
        words = ", ".join(f"{word} ({label_id})" if ids_allowed else word for word, label_id in labels.items())
        raise BadRowError(f"label '{text}' is not one of {words}")

    def target_strings(self) -> list[str] | None:
        """All targets, in the order of their ids; None for a regression."""
        return None if self.labels is None else [str(i) for i in sorted(self.labels.values())]

    def choice(self, scores: Mapping[str, float]) -> float:
        """Mean of all metrics (0-100), which chooses the epoch on dev."""
        return sum(scores[name] for name in self.metrics) / len(self.metrics)

    def table_score(self, scores: Mapping[str, float]) -> float:
        """Mean of the metrics of `score` (0-100), which is in the tables."""
        return sum(scores[name] for name in self.score) / len(self.score)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Task":
        """A task from its YAML's plain values; an unknown key is named with the nearest right one.

        Left out, `template` is `column: text` for each column and `score` is `metrics`.
        """
        name = str(config.get("name") or "?")
        values = known_keys(f"task {name}", config, cls, filled_in=("template", "score"))
        if values.get("tsv") is not None:
            values["tsv"] = TsvLayout(**known_keys(f"task {name}: tsv", values["tsv"], TsvLayout))
        return cls(**plain_values(name, values))


def _label_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _number(value: object) -> str:
    """One decimal, ties to even as numpy does it; the same for "2.45", a float64 and the Hub's float32."""
    try:
        number = float(str(value).strip())
    except ValueError:
        number = math.nan
    if not abs(number) < LARGEST:
        raise BadRowError(f"label '{value}' is not a number (below {LARGEST:.0e})")
    rounded = Decimal(repr(round(number, 4))).quantize(Decimal("0.1"), rounding=ROUND_HALF_EVEN)
    return str(rounded + Decimal("0.0"))  # -0.0 becomes 0.0
