import errno
import json
import stat
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from krona.files import write_whole
from krona.messages import KronaError
from krona.paths import PROJECT
from krona.runs.result import Result, json_schema, outcomes, read_result, unpack_outcomes, write_result


def result(run_id: str = "krona-rte-nano-s0-0123456789", **changes: Any) -> Result:
    values: dict[str, Any] = {
        "status": "done",
        "method": "krona",
        "task": "rte",
        "seed": 0,
        "config": {"seed": 0, "text": "é ⊗"},
        "dev": {"score": 70.0, "parts": {"accuracy": 70.0}},
        "test": {"score": 71.5, "parts": {"accuracy": 71.5}},
        "trainable_params": 158_208,
        "provenance": {"git_commit": None},
    }
    return Result(run_id=run_id, **values | changes)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / result().run_id
    path = write_result(folder, result())
    assert read_result(path) == result()
    assert "é ⊗" in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [file.name for file in folder.iterdir()] == ["result.json"]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None, "71"])
def test_a_score_that_is_no_number_is_no_result(score: Any, tmp_path: Path) -> None:
    broken = result(test={"score": score})
    path = tmp_path / broken.run_id / "result.json"
    path.parent.mkdir()
    path.write_text(json.dumps(broken.__dict__))
    with pytest.raises(KronaError, match=r"test\.score|not a number of JSON"):
        read_result(path)


def test_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path, result(dev={"score": float("nan")}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"run_id": "x", "sta', "is not a result"),
        ("[1]", "is not a result: its JSON is a list"),
        ('{"schema": 7}', "schema 7; this version reads 1"),
        ('{"schema": 1}', "missing"),
        ("\x00\xff", "is not a result"),
    ],
)
def test_truncated_edited_or_of_another_schema(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x" / "result.json"
    path.parent.mkdir()
    path.write_text(text, encoding="latin-1")
    with pytest.raises(KronaError, match=message):
        read_result(path)


def test_unknown_and_missing_fields_are_named(tmp_path: Path) -> None:
    path = tmp_path / result().run_id / "result.json"
    path.parent.mkdir()
    content = {**result().__dict__, "extra": 1}
    del content["seed"]
    path.write_text(json.dumps(content))
    with pytest.raises(KronaError, match="seed is missing; extra is unknown"):
        read_result(path)


def test_a_type_is_named_and_further_keys_of_a_part_are_read(tmp_path: Path) -> None:
    path = tmp_path / result().run_id / "result.json"
    path.parent.mkdir()
    content = json.loads(json.dumps(result().__dict__))
    content["provenance"]["of_a_later_version"] = [1]
    path.write_text(json.dumps(content))
    assert read_result(path).provenance["of_a_later_version"] == [1]
    for key, value in (
        ("seed", True),
        ("seed", "0"),
        ("times", {"train": "1"}),
        ("dev", {"score": 1e400, "parts": {}}),
    ):
        path.write_text(json.dumps({**content, key: value}).replace("Infinity", "1e400"))
        with pytest.raises(KronaError, match=f"is not a result: {key}"):
            read_result(path)


def test_the_schema_in_docs_is_current() -> None:
    schema = (PROJECT / "docs" / "result.schema.json").read_text(encoding="utf-8")
    assert schema == json_schema(), "python -m krona.runs.result writes it"
    jsonschema.validate(json.loads(json.dumps(result().__dict__)), json.loads(schema))


def test_a_result_in_another_runs_folder_is_refused(tmp_path: Path) -> None:
    path = write_result(tmp_path / "copied", result())
    with pytest.raises(KronaError, match="its folder says copied"):
        read_result(path)


def test_outcomes_come_back() -> None:
    targets, predictions = ["0", "1", "1"], ["0", "", "ein Wort\nund é"]
    packed = outcomes(targets, predictions)
    assert unpack_outcomes(packed) == (targets, ["0", "", "ein Wort und é"])
    many = outcomes(["0", "1"] * 5000, ["1", "1"] * 5000)
    assert len(json.dumps(many)) < 1000


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("No space left on device: unexpected pos 64")],
)
def test_a_write_that_fails_leaves_what_was_there(error: Exception, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("earlier")

    def write(part: Path) -> None:
        part.write_text("half")
        raise error

    with pytest.raises(KronaError, match=r"metrics\.csv could not be written: .*No space left on device"):
        write_whole(path, write)
    assert path.read_text() == "earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_ctrl_c_in_a_write_leaves_what_was_there(tmp_path: Path) -> None:
    def write(part: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "x", write)
    assert list(tmp_path.iterdir()) == []


def test_how_far_a_run_is() -> None:
    config = {"trainer": {"max_epochs": 20, "max_steps": -1}}
    assert result(config=config).reached == "before the end of its first epoch"
    assert result(config=config, progress={"epoch": 2, "step": 50, "steps": 500}).reached == "epoch 2 of 20"
    cut = result(
        config=config, progress={"epoch": 1, "step": 25, "steps": 60}
    )  # max_steps=60: the third epoch is short
    assert (cut.reached, cut.epochs) == ("epoch 1 of 3", 3)
