"""Test that the jobs of one process share data that they only read, and that no bit of a result depends on it."""

from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

import one_job
from krona.backbones import load
from krona.config.settings import Backbone
from krona.training.data import SPLITS
from tasks.glue_files import task
from tiny_t5 import snapshot


@pytest.fixture(autouse=True)
def forget() -> None:
    forget_shared()


def forget_shared() -> None:
    load.BACKBONES.clear()
    SPLITS.clear()


def results(
    jobs: list[list[str]], small: list[str], outputs: Path, *, multirun: bool
) -> dict[str, tuple[bytes, bytes]]:
    written = {}
    for overrides in jobs:
        values = one_job.config(*small, "trainer.max_epochs=2", *overrides)
        job, said = one_job.run(values, outputs, multirun=multirun)
        assert job.state == "done", said
        files = [job.folder / file for file in ("adapter.safetensors", "predictions.jsonl")]
        written[job.run_id] = tuple(file.read_bytes() if file.exists() else b"" for file in files)
    return written


@pytest.mark.slow
def test_order_and_company_change_no_bit(small: list[str], tmp_path: Path) -> None:
    jobs = [["method=krona"], ["method=full", "keep=all"], ["method=layer_norm", "seed=1"], ["method=adapter"]]
    alone = {}
    for job in jobs:
        alone |= results([job], small, tmp_path / f"alone-{job[0]}", multirun=False)
        forget_shared()
    together = results(jobs, small, tmp_path / "together", multirun=True)
    forget_shared()
    turned = results(jobs[::-1], small, tmp_path / "turned", multirun=True)
    assert together == turned == alone
    assert len(alone) == 4


def test_a_shared_backbone_is_loaded_once_and_never_written(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Backbone(name="local", path=str(tiny_folder))
    first = load.shared_backbone(settings, task("rte"), seed=0, bf16=False)
    before = snapshot(first.model)
    monkeypatch.setattr("krona.backbones.load.load", lambda *args, **kwargs: pytest.fail("loaded again"))
    second = load.shared_backbone(settings, task("rte"), seed=1, bf16=False)
    for (name, a), b in zip(first.model.named_parameters(), second.model.parameters(), strict=True):
        assert a is not b, name
        assert a.data_ptr() == b.data_ptr(), name
    assert second.model.lm_head.weight is second.model.shared.weight or not second.model.config.tie_word_embeddings
    first.model.to(torch.float64)  # as a move to another device: the other job's weights stay
    assert all(torch.equal(value, before[name]) for name, value in second.model.state_dict().items())
    assert next(second.model.parameters()).dtype == torch.float32


def test_random_weights_are_drawn_anew_for_another_seed(tiny_folder: Path) -> None:
    settings = Backbone(name="local", path=str(tiny_folder), pretrained=False)
    first, again, other = (
        load.shared_backbone(settings, task("rte"), seed=seed, bf16=False).model for seed in (0, 0, 1)
    )
    assert torch.equal(first.shared.weight, again.shared.weight)
    assert not torch.equal(first.shared.weight, other.shared.weight)


def test_a_few_are_kept() -> None:
    make, letters = Mock(side_effect=str), load.RecentValues[str](2)
    for key in "abacab":
        assert letters.get_or_make(key, lambda key=key: make(key)) == key
    assert [call.args[0] for call in make.call_args_list] == [*"abcb"]
