"""What several tests share: a backbone in a folder, made once."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 of d_model 32 with a tokenizer of its own, as backbone.path."""
    from tiny_backbone import write_backbone  # transformers: not for tests that need none

    return write_backbone(tmp_path_factory.mktemp("backbone") / "tiny")
