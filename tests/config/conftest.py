"""A Hydra session that all tests of a module share, because it reads the files of conf/ once."""

from collections.abc import Iterator

import pytest

from composing import hydra_session


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with hydra_session():
        yield
