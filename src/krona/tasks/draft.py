"""Write the YAML file of a task for a user's data file (`krona init NAME --from FILE`)."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
# Without a file for dev, about a tenth of the rows (at most 1,000) becomes dev. Without a file for test, as many other
# rows become test. A hash of data.seed and the row's text chooses its split. Therefore, a new row does not move other
# rows, and rows with equal texts are in the same split. group_columns: [COLUMN] also keeps rows with equal values
# together, such as the rows of one author. To use your own files: {train: FILE, dev: FILE, test: FILE}."""


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
        """The text between several labels of a row, "" for lists, or None if each row has one label or a number."""
        if self.is_number:
            return None
        if self.lists:
            return ""
        parts = {sign: {part.strip() for text in self.values for part in text.split(sign)} for sign in SEPARATORS}
        return next((sign for sign in SEPARATORS if 2 <= len(parts[sign]) < len(self.values)), None)

    @property
    def repeats(self) -> bool:
        """Whether the values repeat as labels do."""
        return 2 <= len(self.values) <= max(2, min(MAX_CLASSES, self.filled // 2))


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
    columns, empty = _count(source)
    texts, label, messages = _choose_columns(source, columns, texts, label)
    column, separator = columns[label], columns[label].separator
    if separator is not None:
        column = _Column()
        for _, row in DataFile(source, FileColumns(names={label: [label]})):
            for part in [] if isinstance(row, BadRowError) else split_labels(row[label], separator):
                column.add(text_or_empty(part))
    about_labels, label_lines = _describe_labels(source, label, column, separator)
    messages += [
        f"runs have {FIRST_STEPS} steps (max_steps in the file) for a first answer. For the final answer, add "
        "trainer.max_steps=-1",
        *about_labels,
    ]
    # with several labels per row, a row can also have none
    needed = label if separator is None else None
    bad_rows = sum(count for names, count in empty.items() if needed in names or {*texts} <= names)
    bad = f"rows that are malformed, or have no text or no label: {bad_rows:,} of {empty.total():,}"
    if bad_rows:
        messages.append(f"{bad}. Runs skip and count them (skip_bad_rows: true in the file)")
    lines = [
        f"# A task of {plural(empty.total(), 'row')}, written by krona init.",
        f"name: {name}",
        f"columns: {_quote([*texts])} # the texts that the model reads",
        f"label_column: {_quote(label)}",
        *label_lines,
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


def _count(path: Path) -> tuple[dict[str, _Column], Counter[frozenset[str]]]:
    """Return the counts of each column, and the number of rows by their empty columns.

    In a malformed row, all columns count as empty.
    """
    columns, empty = defaultdict[str, _Column](_Column), Counter[frozenset[str]]()
    malformed = list[str]()
    for line, row in DataFile(path, FileColumns(names={}, others=True)):
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
    return dict(columns), empty


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


def _describe_labels(path: Path, label: str, column: _Column, separator: str | None) -> tuple[list[str], list[str]]:
    """Return messages about the labels, or the numbers, of a column, and the lines of the YAML file about them."""
    counts, what = column.values, f"{path}: the label column '{label}' has"
    if len(counts) < 2:
        raise KronaError(f"{what} {plural(len(counts), 'different value')}, but a task needs at least two.")
    if column.is_number and separator is None:
        return [f"{label} contains numbers, so the task is a regression"], [
            "labels: null # the targets are numbers",
            "metrics: [pearson] # the correlation with the targets; spearman compares ranks",
        ]
    if not column.is_number and not column.repeats:
        count = f"more than {MAX_CLASSES:,}" if len(counts) > MAX_CLASSES else f"{len(counts):,}"
        raise KronaError(f"{what} {count} different values in {plural(column.filled, 'row')}. Choose another --label.")
    listed = ", ".join(f"{word} ({rows:,})" for word, rows in counts.most_common(20))
    messages = [f"{plural(len(counts), 'label')}: {listed}{', …' if len(counts) > 20 else ''}"]
    for group in group_similar(counts):
        messages.append(
            f"{group} differ only in case or blanks, but are different classes. Correct the file to make them one"
        )
    if rare := [word for word, rows in counts.items() if rows < FEW_ROWS]:
        messages.append(f"fewer than {FEW_ROWS} rows: {', '.join(rare[:20])}. Dev or test has no row of such a label")
    are_integers = all(map(INTEGER.fullmatch, counts))
    order = sorted(counts, key=(lambda word: (int(word), word)) if are_integers else None)
    lines = [
        "labels: # with the number of rows in the file",
        *(f"  - {_quote(word)} # {counts[word]:,}" for word in order),
    ]
    if separator is None:
        if are_integers:
            messages.append(
                "the numbers are read as classes. For a regression, write labels: null and metrics: [pearson]"
            )
        metrics = "[accuracy, macro_f1] # macro F1 gives each label the same weight, however rare it is"
    else:
        between = f"separated by '{separator}'" if separator else "in lists"
        several = f"{label} contains several labels per row, {between}, so the task is multi-label"
        messages = [several, *messages]
        lines.append("kind: multilabel # a row can have several labels, or none")
        if separator:
            lines.append(f"label_separator: {_quote(separator)}")
        metrics = "[micro_f1, macro_f1] # macro F1 gives each label the same weight; also subset_accuracy"
    return messages, [*lines, f"metrics: {metrics}"]


def _quote(value: object) -> str:
    """Return a value as JSON, which is valid YAML."""
    return json.dumps(value, ensure_ascii=False)
