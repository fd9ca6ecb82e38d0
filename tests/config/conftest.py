"""A composer that all tests of a module share, because it reads the files of conf/ once."""

from collections.abc import Iterator, Sequence

import pytest

from krona.config.compose import Composed, Composer, hydra_session

COMPOSERS: list[Composer] = []


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with hydra_session():
        COMPOSERS[:] = [Composer()]
        yield COMPOSERS[0]


def compose_job(overrides: Sequence[str]) -> Composed:
    """Compose a job with the composer of the fixture."""
    return COMPOSERS[0].job(overrides)
