"""Write the YAML file of a task for a user's data file (`krona init NAME --from FILE`)."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from krona.messages import KronaError, did_you_mean, plural
from krona.tasks.files import DataFile, FileColumns
from krona.tasks.values import BadRowError, group_similar, split_labels, text_or_empty

LABEL_NAMES = ("label", "labels", "category", "class", "target", "grade", "sentiment", "rating", "stars", "score")
TEXT_NAMES = ("text", "body", "sentence", "review", "message", "content", "comment", "description", "document")
MAX_CLASSES = 1000
MAX_NUMBERS = 10  # a column with more different whole numbers is the target of a regression
MAX_LABEL = 40  # characters; in a guessed label column, values are shorter on average
MIN_TEXT = 15  # characters; in a guessed text column, values are longer on average
FIRST_STEPS = 30  # training steps of a run for a first answer
FEW_ROWS = 3  # fewer rows of a class cannot be divided among train, dev and test
INTEGER = re.compile(r"[+-]?\d+")
SEPARATORS = ("|", ";", ",")  # possible texts between several labels of a row
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SPLIT_COMMENT = """\
# Without a file for dev, about a tenth of the rows (at most 1,000) becomes dev; without a file for test, as many test.
# A hash of its text chooses the split of a row (data.seed changes all), so new rows do not move others, and equal texts
# stay together. group_columns: [COLUMN] does the same for rows with equal values, such as those of one author.
# To use your own files: {train: FILE, dev: FILE, test: FILE}."""


@dataclass
class _Column:
    """Counts of a column's values."""

    values: Counter[str] = field(default_factory=Counter)  # only the first `MAX_CLASSES` + 1 different values
    filled: int = 0  # rows with a value
    lists: int = 0  # rows with a list
    characters: int = 0

    def add(self, text: str) -> None:
        self.filled += 1
        self.characters += len(text)
        if len(self.values) <= MAX_CLASSES or text in self.values:
            self.values[text] += 1

    @property
    def mean_length(self) -> float:
        return self.characters / max(1, self.filled)

    @property
    def is_number(self) -> bool:
        """Whether the column looks like the target of a regression: decimal numbers, or many whole numbers."""
        kind = NUMBER if len(self.values) > MAX_NUMBERS or not all(map(INTEGER.fullmatch, self.values)) else None
        return kind is not None and len(self.values) > 1 and all(map(kind.fullmatch, self.values))

    @property
    def separator(self) -> str | None:
        """The text between several labels of a row, if the column looks like this. For lists, return ""."""
        if self.lists:
            return ""
        parts = {sign: {part.strip() for text in self.values for part in text.split(sign)} for sign in SEPARATORS}
        return next((sign for sign in SEPARATORS if 2 <= len(parts[sign]) < len(self.values)), None)

    @property
    def repeats(self) -> bool:
        """Whether the values repeat as labels do."""
        return 2 <= len(self.values) <= max(2, min(MAX_CLASSES, self.filled // 2))


@dataclass(frozen=True)
class _Labels:
    """The labels, or the numbers, that a task predicts."""

    column: str
    kind: Literal["classes", "multilabel", "regression"]
    counts: _Column
    separator: str = ""  # the text between several labels of a row, or "" for lists

    def describe(self) -> Iterator[str]:
        """Yield what to tell the user."""
        if self.kind == "regression":
            yield f"{self.column} contains numbers, so the task is a regression"
            return
        if self.kind == "multilabel":
            between = f"separated by '{self.separator}'" if self.separator else "in lists"
            yield f"{self.column} contains several labels per row, {between}, so the task is multi-label"
        yield from _describe_labels(self.counts.values)
        if self.kind == "classes" and all(map(INTEGER.fullmatch, self.counts.values)):
            yield "the numbers are read as classes. For a regression, write labels: null and metrics: [pearson]"

    def yaml(self) -> list[str]:
        """Return the lines of the task's YAML file."""
        if self.kind == "regression":
            metrics = "[pearson] # the correlation with the targets; spearman compares ranks"
            return ["labels: null # the targets are numbers", f"metrics: {metrics}"]
        lines = _label_lines(self.counts.values)
        if self.kind == "classes":
            metrics = "[accuracy, macro_f1] # macro F1 gives each label the same weight, however rare it is"
            return [*lines, f"metrics: {metrics}"]
        metrics = "[micro_f1, macro_f1] # macro F1 gives each label the same weight; also subset_accuracy"
        lines.append("kind: multilabel # a row can have several labels, or none")
        if self.separator:
            lines.append(f"label_separator: {_quote(self.separator)}")
        return [*lines, f"metrics: {metrics}"]


@dataclass(frozen=True)
class Draft:
    """The YAML file of a task, and what to tell the user about it."""

    yaml: str
    messages: list[str]


def draft_task(name: str, source: Path, *, texts: Sequence[str] = (), label: str | None = None) -> Draft:
    """Return the YAML file of a task, with the labels that its data contain.

    Args:
        source: a data file.
        texts: the text columns. If empty, the text column is guessed.
        label: the label column. None means that it is guessed.

    Raises:
        KronaError: a column does not exist or cannot be guessed, or the label column does not contain labels.
    """
    columns, rows, empty = _count(source)
    texts, label, messages = _choose_columns(source, columns, texts, label)
    labels = _find_labels(source, label, columns[label])
    messages.append(
        f"runs have {FIRST_STEPS} steps (max_steps in the file) for a first answer. For the final answer, add "
        "trainer.max_steps=-1"
    )
    messages += labels.describe()
    # with several labels per row, a row can also have none
    needed = label if labels.kind != "multilabel" else None
    bad_rows = sum(count for names, count in empty.items() if needed in names or {*texts} <= names)
    bad = f"rows that are malformed, or have no text or no label: {bad_rows:,} of {rows:,}"
    if bad_rows:
        messages.append(f"{bad}. Runs skip and count them (skip_bad_rows: true in the file)")
    lines = [
        f"# A task of {plural(rows, 'row')}, written by krona init.",
        f"name: {name}",
        f"columns: {_quote([*texts])} # the texts that the model reads",
        f"label_column: {_quote(label)}",
        *labels.yaml(),
        f"max_steps: {FIRST_STEPS} # for a first answer; trainer.max_steps=-1 trains all epochs",
        *([f"skip_bad_rows: true # {bad}"] if bad_rows else []),
        *SPLIT_COMMENT.splitlines(),
        f"files: {_quote({'train': str(source)})}",
    ]
    return Draft("\n".join(lines) + "\n", messages)


def _choose_columns(
    path: Path, columns: Mapping[str, _Column], texts: Sequence[str], label: str | None
) -> tuple[Sequence[str], str, list[str]]:
    """Return the text columns and the label column, and a message for each column that was guessed."""
    for given in filter(None, (*texts, label)):
        if given not in columns:
            raise KronaError(f"{path} has no column '{given}': {did_you_mean(given, columns)}.")
    messages = []
    if label is None:
        label = _guess_label(path, {column: counts for column, counts in columns.items() if column not in texts})
        messages.append(f"label column: {label} (guessed; --label COLUMN selects another column)")
    if not texts:
        texts = [_guess_text(path, {column: counts for column, counts in columns.items() if column != label})]
        messages.append(f"text column: {texts[0]} (guessed; --text COLUMN selects other columns)")
    if label in texts:
        raise KronaError(f"The column '{label}' cannot be both text and label. Give another --label.")
    return texts, label, messages


def _find_labels(path: Path, label: str, column: _Column) -> _Labels:
    """Return what a column contains: one label per row, several labels per row, or numbers."""
    if column.is_number:
        labels = _Labels(label, "regression", column)
    elif (separator := column.separator) is not None:
        labels = _Labels(label, "multilabel", _count_labels(path, label, separator), separator)
    else:
        labels = _Labels(label, "classes", column)
    _require_labels(path, label, labels.counts)
    return labels


def _count(path: Path) -> tuple[dict[str, _Column], int, Counter[frozenset[str]]]:
    """Return the counts of each column, the number of rows, and the number of rows by their empty columns.

    In a malformed row, all columns count as empty.
    """
    columns, rows, empty = defaultdict[str, _Column](_Column), 0, Counter[frozenset[str]]()
    malformed = list[str]()
    for line, row in DataFile(path, FileColumns(names={}, others=True)):
        rows += 1
        if isinstance(row, BadRowError):
            malformed.append(f"{path}:{line}: {row}")
            continue
        texts = {name: text_or_empty(value) for name, value in row.items()}
        for name, text in texts.items():
            column = columns[name]
            if text:
                column.add(text)
            column.lists += isinstance(row[name], list)
        empty[frozenset(name for name, text in texts.items() if not text)] += 1
    if not columns:
        raise KronaError(f"{path} has no rows{''.join(f' that can be read ({first})' for first in malformed[:1])}.")
    if len(columns) == 1 and ";" in (name := next(iter(columns))):
        raise KronaError(f"{path} has only one column, '{name}'. Save it as a CSV with commas between columns.")
    empty[frozenset(columns)] += len(malformed)
    return dict(columns), rows, empty


def _count_labels(path: Path, label: str, separator: str) -> _Column:
    """Return the counts of the labels in a column with several labels per row."""
    column = _Column()
    for _, row in DataFile(path, FileColumns(names={label: [label]})):
        if not isinstance(row, BadRowError):
            for text in split_labels(row[label], separator):
                column.add(text_or_empty(text))
    return column


def _guess_label(path: Path, columns: Mapping[str, _Column]) -> str:
    named = [column for name in LABEL_NAMES for column in columns if column.lower() == name]
    possible = [name for name, column in columns.items() if column.repeats and column.mean_length <= MAX_LABEL]
    if not named and len(possible) != 1:
        which = (
            f"several columns may be the label: {', '.join(possible)}" if possible else "no column looks like labels"
        )
        raise KronaError(f"{path}: {which}. Name the label column with --label COLUMN ({', '.join(columns)}).")
    return (named or possible)[0]


def _guess_text(path: Path, columns: Mapping[str, _Column]) -> str:
    named = [column for name in TEXT_NAMES for column in columns if column.lower() == name]
    longest = sorted(columns, key=lambda name: columns[name].mean_length)[-1:]
    if not named and (not longest or columns[longest[0]].mean_length < MIN_TEXT):
        raise KronaError(f"{path}: no column looks like text ({', '.join(columns)}). Name it with --text COLUMN.")
    return (named or longest)[0]


def _require_labels(path: Path, label: str, column: _Column) -> None:
    what = f"{path}: the label column '{label}' has"
    if len(column.values) < 2:
        raise KronaError(f"{what} {plural(len(column.values), 'different value')}, but a task needs at least two.")
    if not column.is_number and not column.repeats:
        count = f"more than {MAX_CLASSES:,}" if len(column.values) > MAX_CLASSES else f"{len(column.values):,}"
        raise KronaError(f"{what} {count} different values in {plural(column.filled, 'row')}. Choose another --label.")


def _describe_labels(counts: Counter[str]) -> Iterator[str]:
    listed = ", ".join(f"{word} ({rows:,})" for word, rows in counts.most_common(20))
    yield f"{plural(len(counts), 'label')}: {listed}{', …' if len(counts) > 20 else ''}"
    for group in group_similar(counts):
        yield f"{group} differ only in case or blanks, but are different classes. Correct the file to make them one"
    if rare := [word for word, rows in counts.items() if rows < FEW_ROWS]:
        yield f"fewer than {FEW_ROWS} rows: {', '.join(rare[:20])}. Dev or test has no row of such a label"


def _label_lines(counts: Mapping[str, int]) -> list[str]:
    heading = "labels: # with the number of rows in the file"
    is_integer = all(map(INTEGER.fullmatch, counts))
    order = sorted(counts, key=(lambda word: (int(word), word)) if is_integer else None)
    return [heading, *(f"  - {_quote(word)} # {counts[word]:,}" for word in order)]


def _quote(value: object) -> str:
    """Return a value as JSON, which is valid YAML."""
    return json.dumps(value, ensure_ascii=False)
