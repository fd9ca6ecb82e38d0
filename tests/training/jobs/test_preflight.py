"""Test the checks that take place before a run claims its folder."""

from pathlib import Path

import pytest

from krona.messages import KronaError
from krona.paths import NANO
from one_job import config, run


def test_a_tokenizer_with_too_many_tokens_leaves_no_folder(tmp_path: Path) -> None:
    backbone = ["backbone=t5_small", "backbone.pretrained=false", f"backbone.tokenizer={NANO}"]
    values = config("method=lora", "task=sample_rte", "data=sample", *backbone, "backbone.sizes.vocab_size=10")
    with pytest.raises(KronaError, match="has embeddings for 10"):
        run(values, tmp_path / "outputs")
    assert list(tmp_path.iterdir()) == []
