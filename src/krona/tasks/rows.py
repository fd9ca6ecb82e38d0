"""Rows as text, read from a source and checked one by one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from krona.messages import KronaError, amount
from krona.tasks.files import Located
from krona.tasks.task import BadRowError, Task


@dataclass(frozen=True)
class Part:
    """Rows as text, in the source's order. ids: `<part>-<place in the source>`."""

    ids: list[str]
    sources: list[str]
    targets: list[str]
    skipped_rows: int

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: Sequence[int]) -> "Part":
        return Part(
            ids=[self.ids[i] for i in places],
            sources=[self.sources[i] for i in places],
            targets=[self.targets[i] for i in places],
            skipped_rows=self.skipped_rows,
        )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How rows become a Part: the task, whether its name stands before the source, whether bad rows may go."""

    task: Task
    prefix: bool
    skip_bad_rows: bool

    def part(self, name: str, origin: str, rows: Iterable[Located]) -> Part:
        """origin: what an error calls the source (a path); raises KronaError at the first bad row."""
        ids, sources, targets, skipped, count = list[str](), list[str](), list[str](), 0, 0
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
        if not ids:
            why = f"none of its {amount(count, 'row')} can be used" if count else "it has columns and no rows"
            raise KronaError(f"{origin}: a split with no rows: {why}")
        return Part(ids, sources, targets, skipped)
