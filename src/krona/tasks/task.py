"""Tasks: the columns of the source text, the labels of the target text, and the metrics.

A row of a data file becomes two strings, `source` and `target`. A task is one YAML of `conf/task/`; its keys are the
fields of `Task`.
"""

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property
from typing import Any

from krona.messages import KronaError, did_you_mean, shortened
from krona.metrics.scores import METRICS, fitting
from krona.tasks.task_config import known_keys, plain_values

SPLITS = ("halve_validation", "carve_train", "mnli", "given")
FILE_KEYS = ("train", "dev", "test")
LARGEST = 1e15  # of a regression's targets: beyond it a float has no decimals
TEXTS = (str, int, Decimal, datetime.date, datetime.time)  # values of a text column; floats if they are finite
NO_TEXTS = {dict: "an object", list: "a list", bytes: "bytes"}
FIELD = re.compile(r"\{([^{}]*)\}")


class BadRowError(Exception):
    """What is wrong with one row, and in a few words the kind of fault; the reader adds the file and the line."""

    def __init__(self, what: str, *, kind: str) -> None:
        super().__init__(what)
        self.kind = kind


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
    sample: name of a sample task. files: a user's own, or folders that `save_to_disk` of datasets wrote.
    hub_name: GLUE's configuration on the Hub. tsv: GLUE's files.
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

    def prefixed(self, wanted: bool) -> bool:
        """Whether the task's name is put before the source, where the method wants it or not."""
        return wanted if self.prefix is None else self.prefix

    def source(self, row: Mapping[str, Any], *, prefix: bool = False) -> str:
        """The source text of a row; raises BadRowError where a text is missing."""
        texts = {name: _text(name, row.get(name)) for name in self.columns}
        text = self._format % tuple(texts[name] for name in self._fields)
        return f"{self.sample or self.name} {text}" if prefix else text

    @cached_property
    def _fields(self) -> tuple[str, ...]:
        """The template's columns, in its order."""
        return tuple(FIELD.findall(self.template))

    @cached_property
    def _format(self) -> str:
        """The template with %s for each of its columns: quicker than to search it in each row."""
        return FIELD.sub("%s", self.template.replace("%", "%%"))

    def target(self, row: Mapping[str, Any]) -> str:
        """The label of a row as text; raises BadRowError for a label outside the set."""
        value = row.get(self.label_column)
        if self.labels is None:
            return _number(value)
        text = _label_text(value)
        target = self._targets.get(text)
        if target is None:
            ids = self.labels.values()
            words = ", ".join(self.labels if self._numbers_as_words else [self.label_name(str(i)) for i in ids])
            what = f"label '{shortened(text)}' is not one of {shortened(words, 500)}"
            raise BadRowError(what, kind="unknown label")
        return target

    @cached_property
    def _targets(self) -> Mapping[str, str]:
        """Label as a file has it, a word or an id → target."""
        targets = {word: str(label_id) for word, label_id in (self.labels or {}).items()}
        return targets if self._numbers_as_words else {target: target for target in targets.values()} | targets

    @property
    def _numbers_as_words(self) -> bool:
        """Whether the words are numbers themselves ("1" to "5"): a number is then always a word and never an id."""
        return any(word.lstrip("-").isdigit() for word in self.labels or ())

    def label_name(self, target: str) -> str:
        """`entailment (0)` for the target `0`; a regression's target as it is."""
        word = next((word for word, label_id in (self.labels or {}).items() if str(label_id) == target), None)
        return target if word is None else f"{word} ({target})"

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


def _text(name: str, value: object) -> str:
    if type(value) is str:
        return value
    if value is None:
        raise BadRowError(f"the column '{name}' is empty (null)", kind="no text")
    if isinstance(value, TEXTS) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    words = next((words for kind, words in NO_TEXTS.items() if isinstance(value, kind)), None)
    what = f"{words}, not text: {shortened(value)}" if words else f"{str(value).replace('nan', 'NaN')}, not text"
    raise BadRowError(f"the column '{name}' holds {what}", kind="no text")


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
        raise BadRowError(
            f"label '{shortened(value)}' is not a number (below {LARGEST:.0e})", kind="label is no number"
        )
    rounded = Decimal(repr(round(number, 4))).quantize(Decimal("0.1"), rounding=ROUND_HALF_EVEN)
    return str(rounded + Decimal("0.0"))  # -0.0 becomes 0.0
