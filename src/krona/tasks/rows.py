"""Rows as text, read from a source and checked one by one."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from krona.messages import KronaError, amount
from krona.tasks.files import Located, Oddity
from krona.tasks.task import Task
from krona.tasks.values import BadRowError

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How many rows of a part have one fault. first: the first of them, `FILE:LINE` or `FILE:LINE: message`."""

    rows: int
    first: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """One official part of a source, as it was read.

    origin: the file, or the source's name. rows: those that can be used. skipped: bad rows by kind of fault.
    oddities: usable rows that may be misread. empty: ids of rows with an empty text.
    """

    name: str = ""
    origin: str = ""
    rows: int = 0
    skipped: Mapping[str, Faults] = field(default_factory=dict)
    oddities: Mapping[Oddity, Faults] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()

    @property
    def skipped_rows(self) -> int:
        return sum(found.rows for found in self.skipped.values())


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows as text.

    ids: `<part>-<place in the source>`. texts: the text columns by themselves. part: where they come from; another
    split may share it.
    """

    ids: list[str]
    sources: list[str]
    targets: list[str]
    texts: list[tuple[str, ...]]
    part: Part = field(default_factory=Part, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def skipped_rows(self) -> int:
        """Bad rows of its part that were left out."""
        return self.part.skipped_rows

    @cached_property
    def empty_texts(self) -> int:
        """Rows with an empty text."""
        return len(self.part.empty.intersection(self.ids))

    def take(self, places: Sequence[int]) -> "Split":
        def taken(column: list[Any]) -> list[Any]:
            return [column[i] for i in places]

        columns: Any = {name: taken(getattr(self, name)) for name in ("ids", "sources", "targets", "texts")}
        return replace(self, **columns)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of ids, sources and targets."""
        digest = hashlib.sha256()
        for row in zip(self.ids, self.sources, self.targets, strict=True):
            for text in row:
                data = text.encode()
                digest.update(len(data).to_bytes(8, "little") + data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where the rows come from and how they are divided: the keys of `conf/data/*.yaml`, which document them."""

    kind: str
    path: str | None = None
    name: str | None = None
    revision: str | None = None
    protocol: str = "table1"
    train_rows: int | None = None
    subset_seed: int | None = None
    skip_bad_rows: bool = False
    quoting: str | None = None
    seed: int = 42


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A task with the options of its data. prefix: whether the task's name stands before the source."""

    task: Task
    data: DataOptions
    prefix: bool

    def part(self, name: str, origin: str, rows: Iterable[Located]) -> Split:
        """The rows of one official part. origin: the source's name in errors (a path).

        Raises KronaError at the first bad row.
        """
        ids, sources, targets, empty = list[str](), list[str](), list[str](), set[str]()
        texts = list[tuple[str, ...]]()
        skipped, oddities, place = dict[str, Faults](), dict[Oddity, Faults](), 0
        for line, row in rows:
            if isinstance(row, Oddity):
                _count(oddities, row, f"{origin}:{line}")
                continue
            place += 1
            try:
                if isinstance(row, BadRowError):
                    raise row
                source, target = self.task.source(row, prefix=self.prefix), self.task.target(row)
            except BadRowError as error:
                if not self.data.skip_bad_rows:
                    raise KronaError(
                        f"{origin}:{line}: {error}. Correct the row, or leave such rows out and count them: "
                        "data.skip_bad_rows=true"
                    ) from error
                _count(skipped, error.kind, f"{origin}:{line}: {error}")
                continue
            ids.append(f"{name}-{place - 1}")
            sources.append(source)
            targets.append(target)
            texts.append(tuple(str(row[column]) for column in self.task.columns))
            if not all(text.strip() for text in texts[-1]):
                _count(oddities, Oddity.EMPTY, f"{origin}:{line}")
                empty.add(ids[-1])
        if not ids:
            why = f"none of its {amount(place, 'row')} can be used" if place else "it has columns and no rows"
            first = next((f"; {found.first}" for found in skipped.values()), "")
            raise KronaError(f"{origin}: a split with no rows: {why}{first}")
        part = Part(name=name, origin=origin, rows=len(ids), skipped=skipped, oddities=oddities, empty=frozenset(empty))
        return Split(ids=ids, sources=sources, targets=targets, texts=texts, part=part)


def _count(counted: dict[Kind, Faults], kind: Kind, place: str) -> None:
    before = counted.get(kind, Faults(rows=0, first=place))
    counted[kind] = replace(before, rows=before.rows + 1)
