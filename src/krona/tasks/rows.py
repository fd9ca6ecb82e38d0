"""Rows as text, read from a source and checked one by one."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from krona.messages import KronaError, amount
from krona.tasks.files import Located
from krona.tasks.task import BadRowError, Task


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows as text.

    ids: `<part>-<place in the source>`. texts: the text columns by themselves. skipped_rows: bad rows of its source
    that were left out.
    """

    ids: list[str]
    sources: list[str]
    targets: list[str]
    texts: list[tuple[str, ...]]
    skipped_rows: int = 0

    def __len__(self) -> int:
        return len(self.ids)

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
class Reading:
    """Options of reading: the task, whether its name stands before the source, whether bad rows are left out."""

    task: Task
    prefix: bool
    skip_bad_rows: bool

    def part(self, name: str, origin: str, rows: Iterable[Located]) -> Split:
        """The rows of one official part. origin: the source's name in errors (a path).

        Raises KronaError at the first bad row.
        """
        ids, sources, targets, texts = list[str](), list[str](), list[str](), list[tuple[str, ...]]()
        skipped, count = 0, 0
        for place, (line, row) in enumerate(rows):
            count = place + 1
            try:
                if isinstance(row, BadRowError):
                    raise row
                source, target = self.task.source(row, prefix=self.prefix), self.task.target(row)
            except BadRowError as error:
                if not self.skip_bad_rows:
                    raise KronaError(
                        f"{origin}:{line}: {error}. Correct the row, or leave such rows out and count them: "
                        "data.skip_bad_rows=true"
                    ) from error
                skipped += 1
                continue
            ids.append(f"{name}-{place}")
            sources.append(source)
            targets.append(target)
            texts.append(tuple(str(row[column]) for column in self.task.columns))
        if not ids:
            why = f"none of its {amount(count, 'row')} can be used" if count else "it has columns and no rows"
            raise KronaError(f"{origin}: a split with no rows: {why}")
        return Split(ids=ids, sources=sources, targets=targets, texts=texts, skipped_rows=skipped)
