import errno
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from krona.messages import KronaError
from krona.paths import PROJECT
from krona.runs.result import Result, json_schema, read_result, write_result
from krona.safe_files import write_whole


def result(run_id: str = "krona-rte-nano-s0-0123456789", **changes: Any) -> Result:
    values: dict[str, Any] = {
        "status": "done",
        "method": "krona",
        "task": "rte",
        "seed": 0,
        "config": {"seed": 0, "text": "é ⊗"},
        "row": {"label": "KronA", "settings": {}},
        "data_kind": "glue",
        "dev": {"score": 70.0, "parts": {"accuracy": 70.0}},
        "test": {"score": 71.5, "parts": {"accuracy": 71.5}},
        "trainable_params": 158_208,
        "provenance": {"git_commit": None, "of_a_later_version": [1]},
    }
    return Result(run_id=run_id, **values | changes)


def content(**changes: Any) -> dict[str, Any]:
    return result().model_dump() | changes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / result().run_id
    folder.mkdir()
    return folder / "result.json"


def test_a_written_result_is_read(file: Path) -> None:
    assert write_result(file.parent, result()) == file
    assert read_result(file) == result()
    assert "é ⊗" in file.read_text(encoding="utf-8")
    assert [one.name for one in file.parent.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"run_id": "x", "sta', "is not a result of krona: Invalid JSON"),
        ("{}", "run_id is missing"),
        *((json.dumps({key: value for key, value in content().items() if key != lacking}), f"{lacking} is missing")
          for lacking in ("seed", "row")),
        *((json.dumps(content(test={"score": score, "parts": {}})), r"test\.score")
          for score in (float("nan"), None)),
        (json.dumps(content(test=None)), "test is missing"),
        (json.dumps(content()).replace("71.5", "1e400"), "test"),
        (json.dumps(content(run_id="copied")), "copied, but its folder has the name krona-rte-nano-s0-0123456789"),
    ],
)  # fmt: skip
def test_a_damaged_or_edited_result_is_refused_with_the_reason(text: str, message: str, file: Path) -> None:
    file.write_text(text, encoding="latin-1")
    with pytest.raises(KronaError, match=message):
        read_result(file)


def test_nan_is_never_written(tmp_path: Path) -> None:
    written = result()
    written.times["train"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path, written)
    assert list(tmp_path.iterdir()) == []


def test_the_schema_in_docs_is_current() -> None:
    schema = (PROJECT / "docs" / "result.schema.json").read_text(encoding="utf-8")
    assert schema == json_schema(), "python -m krona.runs.result writes it"
    jsonschema.validate(content(provenance={"git_commit": None}), json.loads(schema))


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), KronaError),
        (KeyboardInterrupt("No space left on device"), KeyboardInterrupt),
    ],
)
def test_a_failed_write_leaves_the_old_file(error: BaseException, raised: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("earlier")

    def write(part: Path) -> None:
        part.write_text("half")
        raise error

    with pytest.raises(raised, match="No space left on device"):
        write_whole(path, write)
    assert path.read_text() == "earlier"
    assert [one.name for one in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize(
    ("progress", "reached"),
    [
        ({}, "before the end of its first epoch"),
        ({"epoch": 2, "step": 50, "steps": 500}, "epoch 2 of 20"),
        ({"epoch": 1, "step": 25, "steps": 60}, "epoch 1 of 3"),  # max_steps=60: the third epoch is short
    ],
)
def test_the_progress_of_a_run(progress: dict[str, int], reached: str) -> None:
    assert result(progress=progress).reached == reached
