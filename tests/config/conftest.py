"""A Hydra session that all tests of a module share, because it reads the files of conf/ once."""

from collections.abc import Iterator

import pytest

from krona.config.compose import hydra_session


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with hydra_session():
        yield
