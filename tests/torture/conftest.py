"""The two sizes of each part (small, in `make test`; full, by `make torture`), and the table at the end."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SIZES = ["small", pytest.param("full", marks=[pytest.mark.torture, pytest.mark.timeout(1500)])]


@dataclass
class Book:
    """What a part tried, and what it lost: a line each, with what is needed to see it again."""

    part: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)

    def add(self, loss: str | None) -> None:
        self.tried += 1
        self.lost += [loss] if loss else []


def _alike(lost: list[str]) -> list[str]:
    """Of losses that differ only in what they say last, the first, and how many there are."""
    kinds = Counter(line.rpartition(": ")[0] for line in lost)
    firsts = {line.rpartition(": ")[0]: line for line in reversed(lost)}
    return [f"{count} × {firsts[kind]}" if count > 1 else firsts[kind] for kind, count in kinds.most_common()]


@pytest.fixture(params=SIZES)
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "full")


@pytest.fixture
def book(record_property: Callable[[str, Any], None]) -> Callable[[str], Any]:
    """``with book("kills") as found``: at its end the part is in the table, and nothing may be lost."""

    @contextmanager
    def opened(part: str) -> Iterator[Book]:
        found = Book(part)
        yield found
        record_property("torture", [part, found.tried, len(found.lost)])
        assert found.tried
        if found.lost:
            raise AssertionError(f"{len(found.lost)} of {found.tried} lost:\n" + "\n".join(_alike(found.lost)))

    return opened


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table; of a run on several processes too, as properties travel with the reports."""
    rows = {
        (report.nodeid, value[0]): value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "torture" and "[full]" in report.nodeid
    }
    if not rows:
        return
    terminalreporter.section("torture")
    terminalreporter.write_line(f"{'part':<28}{'tried':>8}{'survived':>10}{'lost':>6}")
    for part, tried, lost in rows.values():
        terminalreporter.write_line(f"{part:<28}{tried:>8,}{tried - lost:>10,}{lost:>6,}")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder
