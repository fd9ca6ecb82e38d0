"""Finished runs and adapter files, which the tests of `krona.adapters` share."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_backbones
from krona.adapters.adapter import Adapter
from krona.adapters.origin import Origin
from krona.backbones.insert_method import insert_method
from krona.config.settings import Backbone
from one_job import finish
from tasks import glue_files
from tiny_backbones import write_backbone
from tiny_t5 import disturb, settings

SAMPLE = ["profile=demo", "trainer.max_epochs=1", "optimizer.warmup_steps=2"]
TINY = [
    "data=sample", "data.train_rows=32", "batch_size=8", "max_source_length=40", "optimizer.warmup_steps=1",
    "optimizer.lr=1e-2", "trainer.max_epochs=1", "trainer.threads=1",
]  # fmt: skip


def finished(outputs: Path, *overrides: str) -> Path:
    return finish(outputs, *overrides)[0].folder


def origin(run_id: str, method: str, backbone: Backbone, task: str = "rte") -> Origin:
    return Origin(
        run_id=run_id, method=method, seed=0, task=glue_files.config(task), backbone=asdict(backbone),
        task_prefix=False, max_source_length=24, scores={"dev": {"accuracy": 61.234}},
    )  # fmt: skip


def saved(
    model: Any, file: Path, method: str, backbone: Backbone, *, seed: int = 0, task: str = "rte", **changes: Any
) -> tuple[Path, Any]:
    """Insert an adapter whose weights differ from their start values, and write it. Return the file and the model."""
    torch.manual_seed(seed)
    insert_method(model, settings(method, **changes))
    disturb(model, seed=seed, by=0.05)
    Adapter.of(model, notes=origin(file.stem, method, backbone, task).as_note()).save(file)
    return file, model


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
