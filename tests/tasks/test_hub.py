"""Test `load_dataset` of the library datasets, with a Hub on 127.0.0.1 and without a Hub."""

import os
import socket
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from hub_server import serve
from krona.messages import KronaError
from krona.tasks import hub
from tasks.glue_files import task
from tasks.own_task import load
from typed_run import output_of

CARD = """---
configs:
- config_name: rte
  data_files:
  - {split: train, path: rte/train-*}
  - {split: validation, path: rte/validation-*}
  - {split: test, path: rte/test-*}
---
Sentences of the tests.
"""


def glue_repository(folder: Path) -> Path:
    """Return a repository like nyu-mll/glue, with one configuration of a few rows and a test set without labels."""
    (folder / "rte").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    for split, rows in (("train", 20), ("validation", 7), ("test", 3)):
        table = {
            "sentence1": [f"The {split} cat no. {i}." for i in range(rows)],
            "sentence2": ["A cat."] * rows,
            "label": [-1 if split == "test" else i % 2 for i in range(rows)],
            "idx": list(range(rows)),
        }
        pq.write_table(pa.table(table), folder / "rte" / f"{split}-00000-of-00001.parquet")
    return folder


def test_what_the_hub_does_not_have_is_one_message(tmp_path: Path) -> None:
    code = """
from krona.messages import KronaError
from tasks.own_task import load
from tasks.glue_files import task
for name, config in (("nyu-mll/glew", "rte"), ("nyu-mll/glue", "cola")):
    try:
        load(task(config), kind="hub", name=name)
    except KronaError as error:
        print(error)
"""
    with serve({"datasets/nyu-mll/glue": glue_repository(tmp_path / "glue")}) as server:
        environment = server.environment(tmp_path) | {"PYTHONPATH": str(Path(__file__).parents[1])}
        first, second = output_of(sys.executable, "-c", code, **environment).splitlines()
    assert first.startswith("The data set nyu-mll/glew (rte) is not in the local cache")
    assert f"from {server.url}" in first
    assert "cola" in second
    assert "rte" in second.split("Use profile=demo")[0]  # the library lists the configurations


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "TIMEOUT_S", 0.3)
        monkeypatch.setitem(os.environ, "HF_DATASETS_CACHE", str(tmp_path))
        with pytest.raises(KronaError, match=r"could not be loaded from http://127.0.0.1:\d+: .*profile=demo"):
            load(task("rte"), kind="hub", name="nobody/has-this")
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):  # there was no second attempt
            silent.accept()
    assert (os.environ.get("HF_HUB_OFFLINE", "0") in ("1", "true")) == constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(("revision", "cached"), [(None, True), ("v1", True), ("abc", True), ("v2", False)])
def test_a_model_is_cached_for_a_revision(
    revision: str | None, cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--t5--small"
    for reference in ("main", "v1"):
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / reference).write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "model.safetensors").write_text("")
    assert hub.model_is_cached("t5/small", revision) is cached
