"""Read the rows of a task as source and target texts, check each row, and count faults."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from krona.messages import KronaError, amount
from krona.tasks.data_files import Located, Oddity
from krona.tasks.data_settings import Data
from krona.tasks.task import Task
from krona.tasks.values import BadRowError, read_text, round_number

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Faults:
    """The number of rows of an official part that have the same fault."""

    rows: int
    first: str  # the first row with the fault, as `FILE:LINE` or `FILE:LINE: message`


@dataclass(frozen=True, kw_only=True)
class Part:
    """The row counts of one official part of a data source, such as GLUE's validation set."""

    name: str = ""
    origin: str = ""  # the path of the file, or the name of the data source
    rows: int = 0  # usable rows
    skipped: Mapping[str, Faults] = field(default_factory=dict)  # kind of fault → bad rows
    oddities: Mapping[Oddity, Faults] = field(default_factory=dict)  # kind of suspicious input → usable rows
    empty: frozenset[str] = frozenset()  # ids of rows with an empty text

    @property
    def skipped_rows(self) -> int:
        return sum(fault.rows for fault in self.skipped.values())


@dataclass(frozen=True, kw_only=True)
class Split:
    """The rows of a split as texts. All lists have one entry for each row."""

    ids: list[str]  # `<part>-<position in the source>`
    sources: list[str]
    targets: list[str]
    texts: list[tuple[str, ...]]  # one text for each text column of the task
    part: Part = field(default_factory=Part, compare=False)  # another split may come from the same part

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def skipped_rows(self) -> int:
        return self.part.skipped_rows

    @cached_property
    def empty_texts(self) -> int:
        return len(self.part.empty.intersection(self.ids))

    def take(self, places: Sequence[int]) -> "Split":
        """Return a split with the rows at these positions, in this order."""
        columns: Any = {
            name: [getattr(self, name)[i] for i in places] for name in ("ids", "sources", "targets", "texts")
        }
        return replace(self, **columns)

    def round_targets(self, decimals: int) -> "Split":
        """Return the split of a regression with rounded targets."""
        return replace(self, targets=[round_number(target, decimals) for target in self.targets])

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the ids, source texts and target texts."""
        digest = hashlib.sha256()
        for row in zip(self.ids, self.sources, self.targets, strict=True):
            for text in row:
                data = text.encode()
                digest.update(len(data).to_bytes(8, "little") + data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A reader that converts the rows of a data source to the source and target texts of a task."""

    task: Task
    data: Data
    prefix: bool  # whether the source text starts with the task's name

    def part(self, name: str, origin: str, rows: Iterable[Located]) -> Split:
        """Return the rows of one official part as a split. ``origin`` names the data source, for example by a path.

        Raise `KronaError` if a row is bad and ``data.skip_bad_rows`` is false, or if no row is usable.
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
                        f"{origin}:{line}: {error}. Correct the row, or skip and count such rows with "
                        "data.skip_bad_rows=true."
                    ) from error
                _count(skipped, error.kind, f"{origin}:{line}: {error}")
                continue
            ids.append(f"{name}-{place - 1}")
            sources.append(source)
            targets.append(target)
            texts.append(tuple(read_text(column, row[column]) for column in self.task.columns))
            if not all(text.strip() for text in texts[-1]):
                _count(oddities, Oddity.EMPTY, f"{origin}:{line}")
                empty.add(ids[-1])
        if not ids:
            if not place:
                raise KronaError(f"{origin} has columns but no rows.")
            first = next((f" ({fault.first})" for fault in skipped.values()), "")
            raise KronaError(f"{origin}: none of its {amount(place, 'row')} can be used{first}.")
        part = Part(name=name, origin=origin, rows=len(ids), skipped=skipped, oddities=oddities, empty=frozenset(empty))
        return Split(ids=ids, sources=sources, targets=targets, texts=texts, part=part)


def _count(faults: dict[Kind, Faults], kind: Kind, place: str) -> None:
    before = faults.get(kind, Faults(rows=0, first=place))
    faults[kind] = replace(before, rows=before.rows + 1)
