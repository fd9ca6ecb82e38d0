"""The fixtures that many tests share, such as a backbone in a folder."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a T5 with d_model 32 and its own tokenizer, for backbone.path."""
    from tiny_backbones import write_backbone  # it imports transformers, which many tests do not need

    return write_backbone(tmp_path_factory.mktemp("backbone") / "tiny")
