"""Test that measurements other than scores are recorded and do not change the run."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import tiny_backbones
from krona.adapters.commands.inspect import inspect
from krona.messages import KronaError
from krona.paths import PROJECT
from krona.runs.forgetting import loss_increase
from krona.runs.index import summaries
from krona.runs.result import Result, read_result
from krona.training import run as run_module
from one_job import config, run, typed

SCHEMA = json.loads((PROJECT / "docs" / "result.schema.json").read_text())
BYTES = ("adapter.safetensors", "predictions.jsonl")


def finished(values: dict[str, Any], outputs: Path) -> tuple[Path, Result, str]:
    job, said = run(values, outputs)
    assert job.state == "done", said
    result = read_result(job.folder / "result.json")
    jsonschema.validate(json.loads((job.folder / "result.json").read_text()), SCHEMA)
    return job.folder, result, said


def scores(result: Result) -> tuple[Any, ...]:
    curve = [{key: value for key, value in row.items() if key != "examples_per_s"} for row in result.dev_curve]
    return result.run_id, curve, result.dev, result.test, result.notes


@pytest.fixture
def values(tiny_folder: Path, tmp_path: Path) -> list[str]:
    return typed(tiny_folder, tmp_path / "glue")


def test_measuring_updates_does_not_change_the_run(
    values: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = config("method=krona", *values)
    folder, result, _ = finished(composed, tmp_path / "measured")
    assert result.learned is not None
    assert all(result.learned[key] > 0 for key in ("norm", "effective_rank", "stable_rank", "drift"))
    assert len(result.learned["by_place"]) == result.learned["places"]
    (summary,) = summaries(folder.parent)
    assert isinstance(summary, Result)
    assert summary.learned == {key: value for key, value in result.learned.items() if key != "by_place"}
    monkeypatch.setattr(run_module, "measure_updates", lambda *_: None)
    other, plain, _ = finished(composed, tmp_path / "plain")
    assert plain.learned is None
    assert scores(plain) == scores(result)
    for name in BYTES:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


def test_forgetting_is_measured_and_changes_nothing_else(values: list[str], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\na dog sat under the mat on a cat\n")
    asked = f"trainer.measure_forgetting={text}"
    folder, result, said = finished(config("method=krona", *values, asked), tmp_path / "measured")
    assert result.forgetting is not None
    losses = result.forgetting["loss"]
    assert list(losses) == ["0", "0.25", "0.5", "0.75", "1"]
    assert len(set(losses.values())) == 5
    assert f"forgetting {loss_increase(result):+.3f}: the span corruption loss" in said
    assert "forgetting" in (folder / "train.log").read_text().splitlines()[-1]
    assert inspect(folder).forgetting == result.forgetting
    other, plain, _ = finished(config("method=krona", *values), tmp_path / "plain")
    assert plain.forgetting is None
    assert scores(plain) == scores(result)
    for name in BYTES:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    _, bare, _ = finished(config("method=untuned", *values, asked), tmp_path / "untuned")
    assert bare.forgetting is not None
    assert set(bare.forgetting["loss"].values()) == {losses["0"]}
    assert loss_increase(bare) == 0


def test_forgetting_that_cannot_be_measured_is_refused(values: list[str], tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(KronaError, match=r"none\.txt is not a file"):
        run(config("method=lora", *values, "trainer.measure_forgetting=none.txt"), tmp_path / "outputs")
    bert = tiny_backbones.write(tmp_path / "bert", "bert")
    encoder = [f"backbone.path={bert}" if str(tiny_folder) in value else value for value in values]
    with pytest.raises(KronaError, match="no language-model head"):
        run(config("method=lora", *encoder, "trainer.measure_forgetting=true"), tmp_path / "outputs")
    assert not list(tmp_path.glob("outputs/*/result.json"))
