"""Finished runs and adapter files, which the tests of `krona.adapters` share."""

from pathlib import Path

import pytest

import tiny_backbones
from one_job import finish
from tiny_backbones import write_backbone

SAMPLE = ["profile=demo", "trainer.max_epochs=1", "optimizer.warmup_steps=2"]
TINY = [
    "data=sample", "data.train_rows=32", "batch_size=8", "max_source_length=40", "optimizer.warmup_steps=1",
    "optimizer.lr=1e-2", "trainer.max_epochs=1", "trainer.threads=1",
]  # fmt: skip


def finished(outputs: Path, *overrides: str) -> Path:
    return finish(outputs, *overrides)[0].folder


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained") / "outputs"


@pytest.fixture(scope="session")
def sst2(outputs: Path) -> Path:
    """A run on nano that is only slightly trained. It predicts labels, other words and empty texts."""
    return finished(outputs, *SAMPLE, "method=krona", "task=sample_sst2", "trainer.max_steps=20", "optimizer.lr=3e-3")


@pytest.fixture(scope="session")
def rte(outputs: Path) -> Path:
    """A run of one step on nano, for a task with two texts in each row."""
    return finished(outputs, *SAMPLE, "method=lora", "task=sample_rte", "trainer.max_steps=1")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return overrides of short runs on a random encoder, decoder and T5, whose predictions differ from row to row."""
    folder = tmp_path_factory.mktemp("tiny")
    kinds = ("bert", "llama")
    written = {kind: tiny_backbones.write(folder / kind, kind, initializer_range=0.5) for kind in kinds}
    written["t5"] = write_backbone(folder / "t5", initializer_factor=5.0)
    return {kind: ["backbone=local", f"backbone.path={written[kind]}", *TINY] for kind in written}
