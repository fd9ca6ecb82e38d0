"""Define the settings of a data source, and read its rows: check each row, and count bad and suspicious rows."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic.dataclasses import dataclass as checked_dataclass

from krona.messages import KronaError, plural
from krona.methods.placement import STRICT
from krona.tasks.files import NumberedRow
from krona.tasks.task import Task
from krona.tasks.values import BadRowError, round_number

MAX_COUNT = 2**31 - 1  # the largest number that torch and the operating system accept
Positive = Annotated[int, Ge(1), Le(MAX_COUNT)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
COLUMNS = ("ids", "sources", "targets", "texts", "group_ids")  # the lists of a `Split`
SUSPICIOUS: Mapping[str, Callable[[str], bool]] = {  # maps kinds of suspicious texts to functions that detect them
    "empty texts": lambda text: not text.strip(),
    "spreadsheet quotes": lambda text: '""' in text[1:-1] and text[0] == '"' == text[-1],
}


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """The source of the rows, and their division into train, dev and test."""

    kind: Literal["hub", "tsv", "jsonl", "sample"]
    """Source: the Hub, GLUE's files (tsv), SuperGLUE's files (jsonl) or generated rows (sample)."""
    path: str | None = None
    """Folder with the files (tsv, jsonl)."""
    name: str | None = None
    """Name of the data set on the Hub."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    protocol: Literal["table1", "appendix_d1", "validation"] = "table1"
    """Division of the rows into train, dev and test."""
    train_rows: Positive | None = None
    """Train on a subset of this size with balanced classes."""
    subset_seed: Seed | None = None
    """Seed of the subset; null: data.seed."""
    dev_from_train: Positive | Annotated[float, Gt(0), Lt(1)] | None = None
    """Rows of train that become dev, as a number or fraction; the given dev rows join test."""
    test_from_train: Positive | Annotated[float, Gt(0), Lt(1)] | None = None
    """Rows of train that join test, as a number or fraction."""
    skip_bad_rows: bool = False
    """Skip malformed rows instead of stopping."""
    quoting: Literal["csv"] | None = None
    """Interpret quotes in a TSV file as in a CSV file."""
    seed: Seed = 42
    """Seed of the division into train, dev and test."""


@dataclass(frozen=True, kw_only=True)
class OfficialSplit:
    """The row counts of an official split of a data source, such as GLUE's validation set."""

    name: str = ""
    origin: str = ""  # the path of the file, or the name of the data source
    rows: int = 0  # usable rows
    skipped: Mapping[str, list[str]] = field(default_factory=dict)  # `LINE: message` of bad rows, by kind
    suspicious: Mapping[str, list[int]] = field(default_factory=dict)  # line numbers of rows, by key of `SUSPICIOUS`

    @property
    def skipped_rows(self) -> int:
        return sum(map(len, self.skipped.values()))


@dataclass(frozen=True, eq=False)
class Sources(Sequence[str]):
    """The source texts of rows, which are computed from the rows' texts at each access. Storing them takes memory."""

    task: Task
    texts: Sequence[tuple[str, ...]]
    prefix: bool  # the argument of `Task.source`

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [*replace(self, texts=self.texts[index])]
        return self.task.source(self.texts[index], prefix=self.prefix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]


@dataclass(frozen=True, kw_only=True)
class Split:
    """The rows of a split as texts. All lists have one entry for each row."""

    ids: list[str]  # the official split and the position of each row in it, such as `train-0`
    sources: Sequence[str]
    targets: list[str]
    texts: list[tuple[str, ...]]  # one text for each text column of the task
    group_positions: tuple[int, ...] = ()  # rows of the same group have equal texts at these positions, and equal ids:
    group_ids: list[tuple[str, ...]] = field(default_factory=list)  # of group columns without text; may be empty
    official: OfficialSplit = field(default_factory=OfficialSplit, compare=False)  # several splits may have the same
    # by id: the row's line in the file (`line`), and its values in the columns that the task does not use (`columns`)
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def groups(self) -> list[int] | None:
        """The number of each row's group, or None if the task has no groups."""
        numbers: dict[tuple[str, ...], int] = {}
        has_groups = self.group_positions or self.group_ids
        return [numbers.setdefault(unit, len(numbers)) for unit in self.units] if has_groups else None

    @property
    def units(self) -> list[tuple[str, ...]]:
        """The values of each row that define its group or, without groups, its texts."""
        if not self.group_positions and not self.group_ids:
            return self.texts
        rows = zip_longest(self.texts, self.group_ids, fillvalue=())
        return [(*(texts[position] for position in self.group_positions), *ids) for texts, ids in rows]

    def take(self, positions: Sequence[int]) -> "Split":
        """Return a split with the rows at these positions, in this order."""
        lists = {name: getattr(self, name) for name in COLUMNS}
        columns: dict[str, Any] = {
            name: [own[i] for i in positions] for name, own in lists.items() if own and type(own) is list
        }
        if isinstance(self.sources, Sources):
            columns["sources"] = replace(self.sources, texts=columns["texts"])
        return replace(self, **columns)

    def join(self, other: "Split") -> "Split":
        """Return a split with the rows of both splits. Its ``official`` is that of this split."""
        columns: dict[str, Any] = {name: [*getattr(self, name), *getattr(other, name)] for name in COLUMNS}
        return replace(self, **columns)

    def round_targets(self, decimals: int) -> "Split":
        """Return a copy with the targets of a regression rounded."""
        return replace(self, targets=[round_number(target, decimals) for target in self.targets])

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the ids, source texts, target texts and group ids."""
        digest = hashlib.sha256()
        rows = zip(self.ids, self.sources, self.targets, strict=True)
        for row, group in zip_longest(rows, self.group_ids, fillvalue=()):
            texts = [text.encode() for text in (*row, *group)]
            digest.update(b"".join([part for text in texts for part in (len(text).to_bytes(8, "little"), text)]))
        return digest.hexdigest()[:16]


def read_official_split(
    task: Task, data: Data, name: str, origin: str, rows: Iterable[NumberedRow], *, prefix: bool
) -> Split:
    """Return the rows of an official split.

    Args:
        origin: a name of the data source for messages, such as a path.
        prefix: the argument of `Task.source`.

    Raises:
        KronaError: a row is bad and ``data.skip_bad_rows`` is false, or no row is usable.
    """
    ids, targets = list[str](), list[str]()
    texts, group_ids = list[tuple[str, ...]](), list[tuple[str, ...]]()
    skipped, suspicious, position = defaultdict[str, list[str]](list), defaultdict[str, list[int]](list), -1
    for position, (line, row) in enumerate(rows):
        try:
            if isinstance(row, BadRowError):
                raise row
            own, target, group = task.texts(row), task.target(row), task.group_id(row)
        except BadRowError as error:
            if not data.skip_bad_rows:
                raise KronaError(
                    f"{origin}:{line}: {error}. Correct the row, or skip and count such rows with "
                    "data.skip_bad_rows=true."
                ) from error
            skipped[error.kind].append(f"{line}: {error}")
            continue
        ids.append(f"{name}-{position}")
        targets.append(target)
        texts.append(own)
        group_ids.extend([group] if group else [])
        for kind, matches in SUSPICIOUS.items():
            if any(map(matches, own)):
                suspicious[kind].append(line)
    if position < 0:
        raise KronaError(f"{origin} has no rows.")
    if not ids:
        first, *_ = next(iter(skipped.values()))
        raise KronaError(f"{origin}: none of its {plural(position + 1, 'row')} can be used ({origin}:{first}).")
    official = OfficialSplit(name=name, origin=origin, rows=len(ids), skipped=skipped, suspicious=suspicious)
    group_positions = tuple(task.columns.index(name) for name in task.group_columns if name in task.columns)
    return Split(
        ids=ids,
        sources=Sources(task, texts, prefix),
        targets=targets,
        texts=texts,
        group_positions=group_positions,
        group_ids=group_ids,
        official=official,
    )
