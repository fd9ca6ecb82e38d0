"""Fixtures for the small size of each part and the full size of `make torture`."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from one_job import config, run

FULL = pytest.param("full", marks=[pytest.mark.torture, pytest.mark.timeout(1500)])
ALIKE, LONGEST = 70, 600  # number of characters of a failure that are compared, and that are printed


@dataclass
class Book:
    """The number of attempts of a part, and each failure with a text that describes how to reproduce it."""

    part: str
    tried: int = 0
    lost: list[tuple[str, str]] = field(default_factory=list)

    def add(self, loss: str | None, attempt: str) -> None:
        self.tried += 1
        self.lost += [(loss, attempt)] if loss else []


def _alike(lost: list[tuple[str, str]]) -> list[str]:
    """Return the first failure of each group that begins alike, and the group's size."""
    kinds = Counter(loss[:ALIKE] for loss, _ in lost)
    firsts = {loss[:ALIKE]: f"{loss}: {attempt}"[:LONGEST] for loss, attempt in reversed(lost)}
    return [f"{count} × {firsts[kind]}" if count > 1 else firsts[kind] for kind, count in kinds.most_common()]


@pytest.fixture(scope="session")
def values(small: list[str]) -> dict[str, Any]:
    return config("method=krona", *small, "trainer.max_epochs=1")


@pytest.fixture(scope="session")
def done(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run."""
    job, _ = run(values, tmp_path_factory.mktemp("done") / "outputs")
    assert (job.state, job.error) == ("done", None)
    return job.folder


@pytest.fixture(params=["small", FULL])
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "full")


@pytest.fixture(params=[pytest.param("small", marks=pytest.mark.slow), FULL])
def slow_full(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "full")


@pytest.fixture
def book() -> Callable[[str], Any]:
    """Return a context whose end prints the number of failures of a part, and fails if the part had a failure."""

    @contextmanager
    def opened(part: str) -> Iterator[Book]:
        found = Book(part)
        try:
            yield found
        finally:  # also if the time of the test runs out
            print(f"{part}: {len(found.lost)} of {found.tried} lost", *_alike(found.lost), sep="\n")
        assert found.tried
        if found.lost:
            raise AssertionError(f"{len(found.lost)} of {found.tried} lost:\n" + "\n".join(_alike(found.lost)))

    return opened


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder
