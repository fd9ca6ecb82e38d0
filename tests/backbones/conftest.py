"""The folders of tiny backbones."""

from pathlib import Path

import pytest

import tiny_backbones

KINDS = ("bert", "mpnet", "roberta", "distilbert", "modernbert", "llama")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("backbones")
    return {kind: tiny_backbones.write(root / kind, kind) for kind in KINDS}
