"""Tasks: the columns of the source text, the labels of the target text, and the metrics.

A row of a data file becomes two strings, `source` and `target`. A task is one YAML of `conf/task/`; its keys are the
fields of `Task`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, field_validator, model_validator

from krona.messages import KronaError, did_you_mean, shorten
from krona.metrics.scores import METRICS, fitting
from krona.tasks.values import BadRowError, read_label, read_number, read_text

Division = Literal["halve_validation", "carve_train", "mnli", "given"]
FILE_KEYS = ("train", "dev", "test")
FIELD = re.compile(r"\{([^{}]*)\}")


class TsvLayout(BaseModel):
    """A task's files in GLUE's own download.

    folder: the task's folder in the download.
    header: the columns of files that have no header line (CoLA); None: the first line names them.
    columns: this project's column → the file's column, for those whose names differ.
    files: split → file name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    header: tuple[str, ...] | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)
    files: Mapping[str, str] = Field(default_factory=lambda: {"train": "train.tsv", "validation": "dev.tsv"})


class Task(BaseModel):
    """One task.

    columns: the one or two text columns.
    template: the source text, with `{column}` for a column's text; left out, it is `column: text` for each column.
    labels: word → id; the target is the id as text. None: a regression, the target is a number of one decimal.
    metrics: their mean on dev chooses the epoch.
    score: those of `metrics` whose mean is in the tables (MRPC: F1 alone); left out, all of them.
    split: the division into dev and test (`splits.py`); own files and sample tasks are `given`.
    prefix: whether the task's name is put before the source; None: the method decides.
    sample: name of a sample task. files: a user's own, or folders that `save_to_disk` of datasets wrote.
    hub_name: GLUE's configuration on the Hub. tsv: GLUE's files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    columns: tuple[str, ...]
    template: str
    labels: Mapping[str, int] | None
    metrics: tuple[str, ...]
    score: tuple[str, ...]
    split: Division = "given"
    label_column: str = "label"
    prefix: StrictBool | None = None
    sample: str | None = None
    files: Mapping[str, str] | None = None
    hub_name: str | None = None
    tsv: TsvLayout | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A task from its YAML's plain values. Raises one KronaError, with a line for each problem."""
        name = config.get("name") or "?"
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            problems = [f"task {name}: {_format_error(problem)}" for problem in error.errors()]
            raise KronaError("\n".join(problems)) from error

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        filled = dict(values)
        if filled.get("template") is None and isinstance(columns := filled.get("columns"), str | Sequence):
            names = [columns] if isinstance(columns, str) else columns
            filled["template"] = " ".join(f"{column}: {{{column}}}" for column in names)
        if filled.get("score") is None:
            filled["score"] = filled.get("metrics")
        return filled

    @field_validator("columns", "metrics", "score", mode="before")
    @classmethod
    def _read_words(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("labels", mode="before")
    @classmethod
    def _read_labels(cls, value: Any) -> dict[str, int] | None:
        if value is None:
            return None
        if isinstance(value, Mapping):
            pairs = list(value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            pairs = [(word, i) for i, word in enumerate(value)]
        else:
            raise ValueError(f"labels must be a list, word: id, or null for a number, not {value!r}")
        labels: dict[str, int] = {}
        for word, label_id in pairs:
            if isinstance(word, bool):
                raise ValueError("labels: YAML reads yes, no, on, off, true and false as booleans: quote them")
            if isinstance(label_id, bool) or not isinstance(label_id, int):
                raise ValueError(f"labels: the id of '{word}' is {label_id!r}, not a whole number")
            if str(word) in labels:
                raise ValueError(f"labels names '{word}' twice")
            labels[str(word)] = label_id
        if len(labels) < 2:
            raise ValueError(f"at least two classes, labels names {len(labels)}")
        if len(set(labels.values())) < len(labels):
            raise ValueError(f"two labels share one id: {labels}")
        return labels

    @field_validator("files", mode="before")
    @classmethod
    def _read_files(cls, value: Any) -> dict[str, str] | None:
        if value is None:
            return None
        if not isinstance(value, str | Mapping):
            raise ValueError(f"files must be train: FILE (and dev:, test:), not {value!r}")
        named = {"train": value} if isinstance(value, str) else value
        files = {str(key): str(path) for key, path in named.items() if path is not None}
        for key in files:
            if key not in FILE_KEYS:
                raise ValueError(f"files.{key}: {did_you_mean(key, FILE_KEYS)}")
        if "train" not in files:
            raise ValueError("files has no 'train': name at least files.train")
        return files

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 1 <= len(self.columns) <= 2:
            raise ValueError(f"columns names {len(self.columns)} columns: a task has one or two text columns")
        used = FIELD.findall(self.template)
        for name in used:
            if name not in self.columns:
                near = did_you_mean(name, self.columns)
                raise ValueError(f"the template uses {{{name}}}, which is not in columns: {near}")
        for name in self.columns:
            if name not in used:
                raise ValueError(
                    f"the template '{self.template}' leaves out the column '{name}': write {{{name}}} for its text"
                )
        if not self.metrics:
            raise ValueError(f"metrics is empty: choose from {', '.join(METRICS)}")
        for metric in self.metrics:
            fitting(metric, len(self.labels or ()))
        for metric in self.score:
            if metric not in self.metrics:
                raise ValueError(f"score '{metric}': {did_you_mean(metric, self.metrics)}")
        if not self.score:
            raise ValueError(f"score is empty: name one of {', '.join(self.metrics)}")
        return self

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
        texts = {name: read_text(name, row.get(name)) for name in self.columns}
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
            return read_number(value)
        text = read_label(value)
        target = self._targets.get(text)
        if target is None:
            ids = self.labels.values()
            words = ", ".join(self.labels if self._numbers_as_words else [self.label_name(str(i)) for i in ids])
            what = f"label '{shorten(text)}' is not one of {shorten(words, 500)}"
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


def _format_error(problem: Any) -> str:
    """A problem that pydantic found, as a sentence."""
    *outer, key = map(str, problem["loc"] or ("",))
    known = [*(TsvLayout if outer else Task).model_fields]
    where = ".".join([*outer, key])
    kind, value = problem["type"], problem["input"]
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if kind == "extra_forbidden":
        return f"{''.join(f'{part}: ' for part in outer)}unknown key '{key}': {did_you_mean(key, known)}"
    if kind == "missing":
        return f"the key '{where}' is missing{' (words, or null for a number)' if key == 'labels' else ''}"
    if kind == "literal_error":
        return f"{where} '{value}': {did_you_mean(str(value), get_args(Division))}"
    expected = {"string_type": "text", "bool_type": "true, false or null", "tuple_type": "a list of words"}
    return f"{where} must be {expected.get(kind, 'of another type')}, not {value!r}"
