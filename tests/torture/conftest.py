"""Fixtures for the small size of each part and the full size of `make torture`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from one_job import config, run

FULL = pytest.param("full", marks=[pytest.mark.torture, pytest.mark.timeout(1500)])
LONGEST = 600  # number of characters of a failure that are printed


class Losses(list[str]):
    """The failures of a test, each with a text that describes how to reproduce it."""

    tried = 0

    def add(self, loss: str | None, attempt: str) -> None:
        self.tried += 1
        if loss:
            self.append(f"{loss}: {attempt}"[:LONGEST])


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
def losses() -> Iterator[Losses]:
    """Return a list of failures. At the end of the test, also if its time has run out, a failure fails the test."""
    found = Losses()
    yield found
    print(f"{len(found)} of {found.tried} lost")
    assert not found, "\n".join(found)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder
