"""Test that measurements other than scores are recorded and do not change the run."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from krona.paths import PROJECT
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
