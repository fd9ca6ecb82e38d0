"""A small run that several test files compare with: its config and its folder."""

from pathlib import Path
from typing import Any

import pytest

from one_job import config, finish


@pytest.fixture(scope="session")
def overrides(small: list[str]) -> list[str]:
    return ["method=krona", *small]


@pytest.fixture(scope="session")
def values(overrides: list[str]) -> dict[str, Any]:
    return config(*overrides)


@pytest.fixture(scope="session")
def done(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an undisturbed run."""
    return finish(tmp_path_factory.mktemp("done"), *overrides)[0].folder
