"""Define a task, which turns a row of a data file into two strings: the source text and the target text.

A YAML file in `conf/task/` defines a task. The keys of the file are the fields of the class `Task`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError, model_validator

from krona.messages import KronaError, describe_problem, did_you_mean, shorten
from krona.metrics.scores import criteria, get_metric
from krona.metrics.scores.metric import format_set, parse_set
from krona.tasks.values import (
    NO_LABEL,
    BadRowError,
    mark_spans,
    read_label,
    read_number,
    read_text,
    split_labels,
)

Division = Literal["halve_validation", "carve_train", "mnli", "given"]
FILE_KEYS = ("train", "dev", "test")
FIELD = re.compile(r"\{([^{}]*)\}")
WHOLE = re.compile(r"(?<=\d)\.0+$")  # the decimals of a whole number such as 1.0


def _parse_labels(value: object) -> dict[str, int] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        pairs = [(word, i) for i, word in enumerate(value)]
    else:
        raise ValueError(f"labels={value!r} must be a list of words, a map from words to ids, or null for a number")
    labels: dict[str, int] = {}
    for word, label_id in pairs:
        if isinstance(word, bool):
            raise ValueError("labels: YAML reads yes, no, on, off, true and false as booleans. Put them in quotes")
        if isinstance(label_id, bool) or not isinstance(label_id, int):
            raise ValueError(f"labels: the id of '{word}' is {label_id!r}, which is not a whole number")
        name = str(word).strip()  # labels in data files are stripped too
        if name in labels:
            raise ValueError(f"labels contains '{name}' twice")
        labels[name] = label_id
    if len(labels) < 2:
        raise ValueError(f"labels needs at least two classes, but has {len(labels)}")
    if len(set(labels.values())) < len(labels):
        raise ValueError(f"two labels have the same id: {labels}")
    return labels


def _parse_files(value: object) -> object:
    if isinstance(value, str):
        return {"train": value}
    if not isinstance(value, Mapping):
        return value  # pydantic accepts only null
    files = {str(key): str(path) for key, path in value.items() if path is not None}
    if unknown := [key for key in files if key not in FILE_KEYS]:
        raise ValueError(f"files.{unknown[0]}: {did_you_mean(unknown[0], FILE_KEYS)}")
    if "train" not in files:
        raise ValueError("files has no 'train'. Name at least files.train")
    return files


Words = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Layout(BaseModel):
    """The names of a task's files and columns in the original download of GLUE or SuperGLUE."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    folder: str
    """The name of the task's folder in the download."""
    header: tuple[str, ...] | None = None
    """The column names of files that have no header line. Only CoLA has such files."""
    columns: Mapping[str, str] = {}
    """Maps krona's column names to the column names in the files, if they differ."""
    files: Mapping[str, str] = {"train": "train.tsv", "validation": "dev.tsv"}
    """Maps the official splits to the names of their files."""


class Task(BaseModel):
    """A task. The fields are the keys of a YAML file in `conf/task/`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str
    columns: Words
    """The names of the text columns. An encoder reads the first column as one segment, and the others, joined, as a
    second segment."""
    template: str
    """The template of the source text. `{column}` is replaced by the text of the column. The default is
    `column: {column} …`."""
    labels: Annotated[Mapping[str, int] | None, BeforeValidator(_parse_labels)]
    """A map from each label word to its id, or a list of words. The target text is the id.

    If the value is null, the task is a regression, and the target text is a number.
    """
    kind: Literal["multilabel"] | None = None
    """multilabel: a row can have several labels, or none. The target text contains their ids in ascending order, such
    as `0 2`, or `none`. null: each row has one label, or a number.
    """
    label_separator: Annotated[str, Field(min_length=1)] = ","
    """With kind=multilabel, the text between two labels of a row. Data files can also contain lists of labels."""
    decimals: Annotated[int, Field(ge=0, le=6)] | None = None
    """The number of decimals to which the targets of a regression are rounded if the backbone generates them as text.

    Encoders predict numbers, so their targets are not rounded. If the value is null, no target is rounded.
    """
    metrics: Words
    """The names of the metrics, such as `accuracy`. The epoch is selected by the mean, on dev, of the metrics in which
    higher is better."""
    score: Words
    """The metrics whose mean is reported in tables (for MRPC only F1). By default: all that select the epoch."""
    split: Division = "given"
    """The rule for the division of the rows into train, dev and test. `krona.tasks.splits.divide` lists the rules."""
    label_column: str = "label"
    group_columns: Words = ()
    """The columns that define groups of rows, such as the answers to one question: rows with equal values form a group.
    A split contains whole groups, and intervals and tests resample groups instead of rows.
    """
    group_phrases: StrictBool = False
    """Whether a row whose text is part of a longer row's text belongs to the group of that row. Only used with
    data.dev_from_train or data.test_from_train. In SST-2, 90 % of the rows of train are such phrases.
    """
    class_weights: Literal["balanced"] | Mapping[str, Weight] | None = None
    """Weights of the labels in the training loss, such as `{bug: 3}` (1 for other labels). `balanced`: the number of
    train rows, divided by the number of labels and by the number of rows with the label, as in scikit-learn.
    """
    slices: Words = ()
    """Columns of the data file. `krona show` prints the score for each of their values, such as each language."""
    max_steps: Annotated[int, Field(ge=-1)] = -1
    """The default of trainer.max_steps: the maximum number of optimizer steps. -1: no limit."""
    skip_bad_rows: StrictBool = False
    """The default of data.skip_bad_rows: whether malformed rows are skipped and counted, instead of stopping a run."""
    replace: Mapping[str, str] = {}
    """Maps substrings of the texts, such as `<br>`, to their replacements, which are applied in this order."""
    marks: Mapping[str, str] = {}
    """The text to put around each span of the first text column. The columns `NAME_text` and `NAME_index` contain the
    text of the span NAME and the index of its first word, from 0. The texts of rows without these columns already
    contain the marks.
    """
    prefix: StrictBool | None = None
    """Whether the source text starts with the task's name. If the value is null, the method decides."""
    sample: str | None = None
    """The name of the sample task in the package, such as rte; null for all other tasks."""
    files: Annotated[Mapping[str, str] | None, BeforeValidator(_parse_files)] = None
    """Maps train, dev and test to a user's data files."""
    hub_name: str | None = None
    """The name of the task's configuration in its data set on the Hub."""
    hub_dataset: str | None = None
    """The default of data.name, the data set on the Hub. If the value is null, the default is GLUE."""
    tsv: Layout | None = None
    """The task's files in GLUE's download (data=tsv)."""
    jsonl: Layout | None = None
    """The task's files in SuperGLUE's download (data=jsonl)."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return a task from the values of its YAML file.

        Raises:
            KronaError: some values are invalid. The message has one line for each of them.
        """
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            lines = []
            for problem in error.errors():
                *outer, key = map(str, problem["loc"] or ("",))
                if problem["type"] == "extra_forbidden":
                    known = (Layout if outer else cls).model_fields
                    text = f"{''.join(f'{name}: ' for name in outer)}unknown key '{key}': {did_you_mean(key, known)}"
                else:
                    text = describe_problem(problem, ".".join([*outer, key]), problem["input"])
                lines.append(f"task {config.get('name') or '?'}: {text}")
            raise KronaError("\n".join(lines)) from error

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        filled = dict(values)
        if filled.get("template") is None:
            columns = filled.get("columns")
            names = columns if isinstance(columns, list | tuple) else [columns]
            filled["template"] = " ".join(f"{column}: {{{column}}}" for column in names)
        if filled.get("score") is None:
            metrics = filled.get("metrics")
            filled["score"] = criteria(metrics) or metrics if isinstance(metrics, list | tuple) else metrics
        return filled

    @model_validator(mode="after")
    def _check(self) -> Self:
        if empty := [key for key in ("columns", "metrics", "score") if not getattr(self, key)]:
            raise ValueError(f"{empty[0]} is empty. Give at least one name")
        if twice := [name for name in self.columns if self.columns.count(name) > 1]:
            raise ValueError(f"columns contains '{twice[0]}' twice")
        used = FIELD.findall(self.template)
        if unknown := [name for name in used if name not in self.columns]:
            near = did_you_mean(unknown[0], self.columns)
            raise ValueError(f"the template uses {{{unknown[0]}}}, which is not in columns: {near}")
        for name in self.columns:
            if name not in used:
                problem = f"the template '{self.template}' does not use the column '{name}'"
                raise ValueError(f"{problem}. Insert {{{name}}} for its text")
        if self.is_multilabel and self.labels is None:
            raise ValueError("kind=multilabel needs labels. List all labels that a row can have")
        if self.class_weights is not None and not self.has_one_label:
            kind = "has several labels per row" if self.is_multilabel else "is a regression"
            raise ValueError(f"class_weights needs one label per row, but the task {kind}. Remove class_weights")
        if isinstance(self.class_weights, Mapping):
            for word in self.class_weights.keys() - (self.labels or {}).keys():
                raise ValueError(f"class_weights: '{word}' is not a label: {did_you_mean(word, self.labels or {})}")
        for metric in self.metrics:
            get_metric(metric, len(self.labels or ()), multilabel=self.is_multilabel)
        for metric in self.score:
            if metric not in self.metrics:
                near = did_you_mean(metric, self.metrics)
                raise ValueError(f"the score '{metric}' is not one of the metrics: {near}")
            if not criteria([metric]):
                raise ValueError(f"'{metric}' cannot be the score, because lower values are better. Add another metric")
        return self

    @property
    def data_kind(self) -> Literal["glue", "superglue", "sample", "own"]:
        """The kind of the data: "glue", "superglue", "sample" (krona's sample tasks) or "own" (a user's own files)."""
        if self.files is not None:
            return "own"
        return "sample" if self.sample is not None else "glue" if self.jsonl is None else "superglue"

    @property
    def is_multilabel(self) -> bool:
        """Whether a row can have several labels."""
        return self.kind == "multilabel"

    @property
    def has_one_label(self) -> bool:
        """Whether each row has exactly one label."""
        return self.labels is not None and not self.is_multilabel

    @property
    def layout(self) -> Layout | None:
        """The task's files in the download of its benchmark."""
        return self.jsonl or self.tsv

    @property
    def read_columns(self) -> list[str]:
        """The columns from which the texts are computed."""
        return [*self.columns, *(f"{span}_{ending}" for span in self.marks for ending in ("text", "index"))]

    def texts(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the text of each text column.

        Raises:
            BadRowError: all texts are empty, a value is not text, or a text does not contain a span to mark.
        """
        texts = tuple(read_text(name, row.get(name)) for name in self.columns)
        for old, new in self.replace.items():
            texts = tuple(text.replace(old, new) for text in texts)
        if self.marks and any(name in row for name in self.read_columns[len(self.columns) :]):
            spans = [self._read_span(row, span, mark) for span, mark in self.marks.items()]
            texts = (mark_spans(texts[0], spans), *texts[1:])
        if not any(map(str.strip, texts)):
            columns = " and ".join(f"'{name}'" for name in self.columns)
            verb = "is" if len(texts) == 1 else "are"
            raise BadRowError(f"the row has no text: {columns} {verb} empty", kind="no text")
        return texts

    @staticmethod
    def _read_span(row: Mapping[str, Any], span: str, mark: str) -> tuple[str, int, str]:
        index = read_text(f"{span}_index", row.get(f"{span}_index"))
        if not index.isdecimal():
            raise BadRowError(f"the column '{span}_index' contains '{shorten(index)}', not an index", kind="no span")
        return read_text(f"{span}_text", row.get(f"{span}_text")), int(index), mark

    def source(self, texts: Sequence[str], *, prefix: bool = False) -> str:
        """Return the source text of a row.

        ``prefix`` tells whether it starts with the task's name. The task's own field `prefix` has priority.
        """
        text = "".join([texts[part] if type(part) is int else part for part in self._template_parts])
        return f"{self.sample or self.name} {text}" if (prefix if self.prefix is None else self.prefix) else text

    @cached_property
    def _template_parts(self) -> list[Any]:
        """The texts of the template, and for each `{column}` the index of the column."""
        parts = FIELD.split(self.template)
        return [self.columns.index(part) if place % 2 else part for place, part in enumerate(parts)]

    def target(self, row: Mapping[str, Any]) -> str:
        """Return the target text of a row. The labels 1, 1.0, "1" and "1.0" have the same target text.

        Raises:
            BadRowError: the label is unknown, or is not a number in a regression.
        """
        value = row.get(self.label_column)
        if self.is_multilabel:
            return format_set({self._read_target(label) for label in split_labels(value, self.label_separator)})
        return self._read_target(value)

    def _read_target(self, value: object) -> str:
        if self.labels is None:
            return read_number(value)
        text = read_label(value)
        target = self._targets.get(text) or self._targets.get(WHOLE.sub("", text))
        if target is None:
            ids = self.labels.values()
            words = ", ".join(self.labels if self._numbers_as_words else [self.label_name(str(i)) for i in ids])
            what = f"label '{shorten(text)}' is not one of {shorten(words, 500)}{NO_LABEL.get(text, '')}"
            raise BadRowError(what, kind="unknown label")
        return target

    @cached_property
    def _targets(self) -> Mapping[str, str]:
        """Maps the labels that a file may contain, words or ids, to target texts."""
        targets = {word: str(label_id) for word, label_id in (self.labels or {}).items()}
        return targets if self._numbers_as_words else {target: target for target in targets.values()} | targets

    @property
    def _numbers_as_words(self) -> bool:
        """Whether a label word is a number, such as "1" to "5". If so, a number in a file is a word and not an id."""
        return any(re.fullmatch(r"-?\d+(\.\d+)?", word) for word in self.labels or ())

    def group_id(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the values of the group columns that are not text columns.

        Raises:
            BadRowError: a value is empty.
        """
        if not self.group_columns:
            return ()
        names = [name for name in self.group_columns if name not in self.columns]
        ids = tuple(read_text(name, row.get(name)) for name in names)
        if empty := [name for name, value in zip(names, ids, strict=True) if not value.strip()]:
            raise BadRowError(f"the group column '{empty[0]}' is empty", kind="no group")
        return ids

    def normalize(self, answer: str) -> str:
        """Return a predicted text of a multi-label task with sorted labels, or without blanks around another text."""
        labels = parse_set(answer, self.target_strings() or ())
        return answer.strip() if labels is None else format_set(labels)

    def count_labels(self, targets: Iterable[str]) -> Counter[str]:
        """Return the number of rows with each label (or number), and with the text `none` for rows without a label."""
        return (
            Counter(label for target in targets for label in target.split()) if self.is_multilabel else Counter(targets)
        )

    def label_name(self, target: str) -> str:
        """Return a target with its name, such as `entailment (0)`. For a regression, return the target alone."""
        name = next((name for name, label_id in (self.labels or {}).items() if str(label_id) == target), None)
        return target if name is None else f"{name} ({target})"

    def target_strings(self) -> list[str] | None:
        """Return all target texts in the order of their ids, or None for a regression."""
        return None if self.labels is None else [str(i) for i in sorted(self.labels.values())]

    def loss_weights(self, targets: Sequence[str]) -> dict[str, float]:
        """Return the weight of each target of train in the loss, or {} if the task has no class weights."""
        if self.class_weights is None:
            return {}
        if self.class_weights == "balanced":
            counts = dict(sorted(Counter(targets).items(), key=lambda item: int(item[0])))
            return {target: len(targets) / (len(counts) * rows) for target, rows in counts.items()}
        return {str(label_id): self.class_weights.get(word, 1.0) for word, label_id in (self.labels or {}).items()}

    def criterion(self, scores: Mapping[str, float]) -> float:
        """Return the mean of the metrics that select the epoch on dev."""
        names = criteria(self.metrics)
        return sum(scores[name] for name in names) / len(names)

    def table_score(self, scores: Mapping[str, float]) -> float:
        """Return the mean of the metrics in the field `score`, from 0 to 100. Tables report this mean."""
        return sum(scores[name] for name in self.score) / len(self.score)
