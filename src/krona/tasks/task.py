"""A task: which columns make the source text, which labels make the target text, and how it is scored.

Everything here is text to text, as T5 wants it: a row of a data file becomes `source` and `target`, both strings.
A task is one YAML of `conf/task/`; its keys are the fields of `Task`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from krona.errors import KronaError
from krona.metrics.scores import CLASS_METRICS, METRICS
from krona.tasks.names import did_you_mean

SPLITS = ("halve_validation", "carve_train", "mnli", "given")
FILE_KEYS = ("train", "dev", "test")
LARGEST = 1e15  # of a regression's targets: beyond it a float has no decimals
FIELD = re.compile(r"\{([^{}]*)\}")


class BadRowError(Exception):
    """What is wrong with one row; the reader adds the file and the line."""


@dataclass(frozen=True, kw_only=True)
class TsvLayout:
    """Where GLUE's own download keeps a task.

    folder: the task's folder in the download.
    header: the columns of files that have no header line (CoLA); None where the first line names them.
    columns: this project's column → the file's column, for those whose names differ.
    files: split → file name.
    """

    folder: str
    header: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(
        default_factory=lambda: {"train": "train.tsv", "validation": "dev.tsv"},
    )


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task.

    columns: the one or two text columns.
    template: the source text, with `{column}` where a column's text goes.
    labels: word → id; the target is the id as text. None: a regression, the target is a number of one decimal.
    metrics: what is computed; their mean on dev chooses the epoch.
    score: those of `metrics` whose mean stands in the tables (MRPC: F1 alone).
    split: how dev and test come about (`splits.py`); own files and sample tasks are `given`.
    prefix: the task's name before the source: true or false; None leaves it to the method.
    sample: the generator's name of a sample task. files: a user's own data. hub_name: GLUE's configuration on
    the Hub. tsv: GLUE's own files.
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
            raise KronaError(f"task {self.name}: split '{self.split}': {did_you_mean(self.split, SPLITS)}")
        if self.files is not None:
            for key in self.files:
                if key not in FILE_KEYS:
                    raise KronaError(f"task {self.name}: files.{key}: {did_you_mean(key, FILE_KEYS)}")
            if "train" not in self.files:
                raise KronaError(f"task {self.name}: files has no 'train': name at least files.train")

    def _check_text(self) -> None:
        if not 1 <= len(self.columns) <= 2:
            raise KronaError(
                f"task {self.name}: columns names {len(self.columns)} columns: one or two text columns go in"
            )
        used = FIELD.findall(self.template)
        for name in used:
            if name not in self.columns:
                raise KronaError(
                    f"task {self.name}: the template uses {{{name}}}, which is not in columns: "
                    f"{did_you_mean(name, self.columns)}"
                )
        for name in self.columns:
            if name not in used:
                raise KronaError(
                    f"task {self.name}: the template '{self.template}' leaves out the column '{name}': "
                    f"write {{{name}}} where its text goes"
                )

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        if len(self.labels) < 2:
            raise KronaError(f"task {self.name}: labels names {len(self.labels)} classes: at least two")
        if len(set(self.labels.values())) < len(self.labels):
            raise KronaError(f"task {self.name}: two labels share one id: {dict(self.labels)}")

    def _check_metrics(self) -> None:
        if not self.metrics:
            raise KronaError(f"task {self.name}: metrics is empty: choose from {', '.join(METRICS)}")
        for metric in self.metrics:
            if metric not in METRICS:
                raise KronaError(f"task {self.name}: metric '{metric}': {did_you_mean(metric, METRICS)}")
            if self.labels is None and metric in CLASS_METRICS:
                raise KronaError(
                    f"task {self.name}: '{metric}' is for classes, and labels: null makes it a regression: "
                    "use pearson, spearman"
                )
        if "f1" in self.metrics and self.labels is not None and len(self.labels) != 2:
            raise KronaError(f"task {self.name}: 'f1' is for two classes, here are {len(self.labels)}: macro_f1")
        for metric in self.score:
            if metric not in self.metrics:
                raise KronaError(f"task {self.name}: score '{metric}': {did_you_mean(metric, self.metrics)}")
        if not self.score:
            raise KronaError(f"task {self.name}: score is empty: name one of {', '.join(self.metrics)}")

    @property
    def kind(self) -> str:
        """What a score on it may be called: "glue", "sample" or "own"."""
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
        """The number that chooses the epoch on dev: the mean of all metrics (0-100)."""
        return sum(scores[name] for name in self.metrics) / len(self.metrics)

    def table_score(self, scores: Mapping[str, float]) -> float:
        """The number of the tables: the mean of the metrics that `score` names (0-100)."""
        return sum(scores[name] for name in self.score) / len(self.score)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Task":
        """A task from its YAML's plain values; an unknown key is named with the nearest right one.

        Left out, `template` is `column: text` for each column and `score` is `metrics`.
        """
        name = str(config.get("name") or "?")
        values = _known(f"task {name}", config, cls)
        columns = _words(f"task {name}: columns", values.get("columns"))
        if values.get("template") is None:
            values["template"] = " ".join(f"{column}: {{{column}}}" for column in columns)
        metrics = _words(f"task {name}: metrics", values.get("metrics"))
        score = values.get("score")
        values["columns"], values["metrics"] = columns, metrics
        values["score"] = metrics if score is None else _words(f"task {name}: score", score)
        if "labels" in values:
            values["labels"] = _labels(name, values["labels"])
        if values.get("files") is not None:
            values["files"] = _paths(name, values["files"])
        if values.get("tsv") is not None:
            layout = _known(f"task {name}: tsv", values["tsv"], TsvLayout)
            if layout.get("header") is not None:
                layout["header"] = tuple(layout["header"])
            values["tsv"] = TsvLayout(**layout)
        _check_types(name, values)
        return cls(**values)


def _known(where: str, config: Mapping[str, Any], cls: Any) -> dict[str, Any]:
    if not isinstance(config, Mapping):
        raise KronaError(f"{where} must be keys and values, not {config!r}")
    names = [f.name for f in fields(cls)]
    for key in config:
        if key not in names:
            raise KronaError(f"{where}: unknown key '{key}': {did_you_mean(str(key), names)}")
    optional = {"template", "score"} if cls is Task else set()
    for f in fields(cls):
        required = f.default is MISSING and f.default_factory is MISSING and f.name not in optional
        if required and f.name not in config:
            hint = " (words, or null for a number)" if f.name == "labels" else ""
            raise KronaError(f"{where}: the key '{f.name}' is missing{hint}")
    return dict(config)


def _words(where: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence) or not all(isinstance(word, str) for word in value):
        raise KronaError(f"{where} must be a list of words, not {value!r}")
    return tuple(value)


def _labels(name: str, value: object) -> dict[str, int] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        pairs = [(word, i) for i, word in enumerate(value)]
    else:
        raise KronaError(f"task {name}: labels must be a list, word: id, or null for a number, not {value!r}")
    labels: dict[str, int] = {}
    for word, label_id in pairs:
        if isinstance(word, bool):
            raise KronaError(
                f"task {name}: labels: YAML reads yes, no, on, off, true and false as booleans: quote them"
            )
        if isinstance(label_id, bool) or not isinstance(label_id, int):
            raise KronaError(f"task {name}: labels: the id of '{word}' is {label_id!r}, not a whole number")
        if str(word) in labels:
            raise KronaError(f"task {name}: labels names '{word}' twice")
        labels[str(word)] = label_id
    return labels


def _paths(name: str, value: object) -> dict[str, str]:
    if isinstance(value, str):
        return {"train": value}
    if not isinstance(value, Mapping):
        raise KronaError(f"task {name}: files must be train: FILE (and dev:, test:), not {value!r}")
    return {str(key): str(path) for key, path in value.items() if path is not None}


def _check_types(name: str, values: Mapping[str, Any]) -> None:
    for key in ("name", "template", "split", "label_column", "sample", "hub_name"):
        value = values.get(key)
        optional = key in ("sample", "hub_name")
        if key in values and not (isinstance(value, str) or (optional and value is None)):
            raise KronaError(f"task {name}: {key} must be text, not {value!r}")
    if not isinstance(values.get("prefix"), bool | None):
        raise KronaError(f"task {name}: prefix must be true, false or null, not {values['prefix']!r}")


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
