"""Test a complete run: its files, and the same bits after a kill at any point."""

import csv
import errno
import gc
import importlib
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jsonschema
import pytest
import torch
from transformers import T5ForConditionalGeneration

from krona.adapters.find import find
from krona.adapters.trained import load
from krona.config import check
from krona.messages import KronaError
from krona.methods.lora import LoRA
from krona.paths import PROJECT
from krona.runs import claim as ownership
from krona.runs.folder import RunState
from krona.runs.frame import stored_results
from krona.runs.processes import Interrupted, interrupt
from krona.runs.result import Result, read_result
from krona.runs.run_id import _own_modules, code_version, method_code, own_code
from krona.surgery.operation_counts import launches
from krona.training.learner import Learner
from krona.training.progress import Tracking
from krona.training.run import KEPT_BYTES, keeps_weights
from one_job import config, finish, interrupt_after, run, run_in_a_process, same_files
from runs.made_runs import aged, claimed, dead_pid
from tiny_backbones import SIZES
from tiny_t5 import inserted

SCHEMA = json.loads((PROJECT / "docs" / "result.schema.json").read_text())
FILES = ["adapter.safetensors", "metrics.csv", "predictions.jsonl", "result.json", "train.log"]


def curve(folder: Path) -> list[dict[str, Any]]:
    rows = read_result(folder / "result.json").dev_curve
    return [{key: value for key, value in row.items() if key != "examples_per_s"} for row in rows]


def assert_same(folder: Path, reference: Path) -> None:
    assert same_files(folder, reference)
    one, other = read_result(folder / "result.json"), read_result(reference / "result.json")
    assert curve(folder) == curve(reference)
    assert (one.dev, one.test, one.best_epoch) == (other.dev, other.test, other.best_epoch)
    assert (one.status, one.notes) == ("done", other.notes)
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_a_model_that_is_not_finite_is_not_saved(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = Learner.restore_best

    def break_after(learner: Learner) -> Any:  # like a last step whose loss was finite
        found = restore(learner)
        for parameter in learner.model.parameters():
            parameter.data.fill_(math.nan) if parameter.requires_grad else None
        return found

    monkeypatch.setattr(Learner, "restore_best", break_after)
    job, _ = run(values, tmp_path)
    assert job.state == "failed"
    assert re.search(r"best epoch, \S+ is not finite\. .*optimizer\.lr \(now ", str(job.error))
    assert read_result(job.folder / "result.json").status == "failed"
    assert not (job.folder / "adapter.safetensors").exists()


def test_the_files_of_a_run(done: Path, tiny_folder: Path) -> None:
    assert sorted(path.name for path in done.iterdir()) == FILES
    result = read_result(done / "result.json")
    content = json.loads((done / "result.json").read_text())
    jsonschema.validate(content, SCHEMA)
    assert result.run_id == done.name
    assert {name: split["rows"] for name, split in result.splits.items()} == {"train": 12, "dev": 4, "test": 5}
    assert all(split["truncated"] == split["rows"] for split in result.splits.values())
    assert result.splits["train"]["targets"] == {"0": 6, "1": 6}
    assert result.provenance["official_rows"] == {"train": [12, 2490], "validation": [9, 277]}
    assert any("Sources longer than max_source_length=24 were cut: 12 of 12 in train" in note for note in result.notes)
    assert any("factor shape (32, 24) becomes" in note for note in result.notes)
    assert [row["step"] for row in result.dev_curve] == [3, 6, 9]
    with (done / "metrics.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3]
    rows = [json.loads(line) for line in (done / "predictions.jsonl").read_text().splitlines()]
    assert [row["split"] for row in rows] == ["dev"] * 4 + ["test"] * 5
    assert set(rows[0]) == {"split", "id", "source", "target", "prediction", "scores"}
    assert all([*row["scores"]] == ["entailment", "not_entailment"] for row in rows)
    assert all(sum(row["scores"].values()) == pytest.approx(1, abs=1e-5) for row in rows)  # six digits
    assert 'said "hello.' in rows[0]["source"]
    right = 100 * sum(row["target"] == row["prediction"] for row in rows[4:]) / 5
    assert result.test["score"] == pytest.approx(right)
    backbone = result.provenance["backbone"]
    assert backbone["architecture"] == "t5"
    model = T5ForConditionalGeneration.from_pretrained(tiny_folder)
    assert backbone["parameters"] == model.num_parameters()
    assert {**SIZES, "num_decoder_layers": 2}.items() <= backbone["sizes"].items()
    log = (done / "train.log").read_text()
    assert log.splitlines()[0] == done.name
    assert log.count("  epoch  ") == 3


def test_a_finished_run_is_not_run_again(values: dict[str, Any], done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.iterdir()}
    job, said = run(values, done.parent)
    assert (job.state, said) == ("done already", "")
    assert job.result == read_result(done / "result.json")
    assert any("overwrite=true" in message for message in job.messages)
    logger = {"mine": {"_target_": "pytorch_lightning.loggers.CSVLogger"}}
    again, _ = run({**values, "logger": logger}, done.parent)
    assert any("logger=mine: nothing was logged" in text and "overwrite=true" in text for text in again.messages)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # a requeued job overwrites nothing
    assert run({**values, "overwrite": True}, done.parent)[0].state == "done already"
    assert {path: path.stat().st_mtime_ns for path in done.iterdir()} == before


def test_overwrite_runs_a_finished_run_again(values: dict[str, Any], done: Path, tmp_path: Path) -> None:
    folder = tmp_path / done.name
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("{") if name == "result.json" else (folder / name).write_text("from before")
    with pytest.raises(KronaError, match=r"is not a result.*overwrite=true"):
        run(values, tmp_path)
    job, _ = run({**values, "overwrite": True}, tmp_path)
    assert job.state == "done"
    assert_same(folder, done)
    assert "from before" not in (folder / "train.log").read_text()


KILLS = [  # most are slow, and the others detect most of the same errors
    pytest.param(("step", 2), marks=pytest.mark.slow),  # before any epoch has ended
    ("step", 5),
    ("write", 2),  # while the first checkpoint is written
    pytest.param(("write", 5), marks=pytest.mark.slow),  # the second checkpoint
    pytest.param(("write", 9), marks=pytest.mark.slow),  # the metrics of the last epoch, whose checkpoint exists
    ("written", 10),  # after the training, before test is scored
    ("write", 14),  # the result
]


def run_killed(context: Any, values: dict[str, Any], outputs: Path, kill: tuple[str, int]) -> None:
    process = context.Process(target=run_in_a_process, args=(values, str(outputs), kill))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed(values: dict[str, Any], processes: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the outputs folder of a run that was killed in its second epoch."""
    outputs = tmp_path_factory.mktemp("killed")
    run_killed(processes, values, outputs, ("step", 5))
    return outputs


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: f"{kill[0]}-{kill[1]}")
def test_a_killed_run_resumes_to_the_same_bits(
    kill: tuple[str, int], values: dict[str, Any], done: Path, processes: Any, tmp_path: Path
) -> None:
    run_killed(processes, values, tmp_path, kill)
    folder = tmp_path / done.name
    half = json.loads((folder / "result.json").read_text())
    jsonschema.validate(half, SCHEMA)
    assert half["status"] == "running"
    assert run(values, tmp_path)[0].state == "done"
    assert_same(folder, done)
    log = (folder / "train.log").read_text()
    assert log.count(done.name) == 2
    assert ("resumes after epoch" in log) == (kill in (("step", 5), ("write", 5)))  # in the middle of the training
    assert log.count("  epoch  1/3") == 1


@pytest.mark.parametrize(  # from batches (eva, lora_ga), or from the weights alone
    "method", ["eva", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pissa", "olora", "lora_ga"))]
)
def test_initial_values_are_computed_once(
    method: str, overrides: list[str], processes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [*overrides, f"method={method}", "++method.init_rows=5"]
    whole, _ = finish(tmp_path / "whole", *chosen)
    calls, compute = list[LoRA](), LoRA.prepare

    def count(branch: LoRA, matrix: torch.Tensor) -> None:
        calls.append(branch)
        compute(branch, matrix)

    monkeypatch.setattr(LoRA, "prepare", count)
    for number, kill in enumerate([("prepare", 3), ("step", 5)]):
        outputs = tmp_path / str(number)
        run_killed(processes, config(*chosen), outputs, kill)
        calls.clear()
        resumed, _ = finish(outputs, *chosen)
        assert bool(calls) == (kill[0] == "prepare")
        assert_same(resumed.folder, whole.folder)
        times = read_result(resumed.folder / "result.json").times
        assert times["total"] > times["prepare"] > 0


def test_rates_by_group_a_schedule_of_torch_and_dropout_resume_to_the_same_bits(
    overrides: list[str], processes: Any, tmp_path: Path
) -> None:
    chosen = [*overrides, "++optimizer.lr_factors={A: 0.25, B: 4}", "+method.dropout=0.3"]
    chosen += ["~scheduler", "+scheduler._target_=torch.optim.lr_scheduler.CosineAnnealingLR"]
    whole, _ = finish(tmp_path / "whole", *chosen)
    run_killed(processes, config(*chosen), tmp_path / "again", ("step", 5))
    resumed, said = finish(tmp_path / "again", *chosen)
    assert_same(resumed.folder, whole.folder)
    assert "lr 0.03 (A × 0.25, B × 4)" in said
    result = json.loads((resumed.folder / "result.json").read_text())
    jsonschema.validate(result, SCHEMA)
    row, *later = result["dev_curve"]
    assert row["lr"] > later[0]["lr"] > later[1]["lr"] > 0
    assert row["lr_by_group"] == pytest.approx({"base": row["lr"], "A": row["lr"] / 4, "B": 4 * row["lr"]})


def test_a_checkpoint_of_another_method_is_refused(values: dict[str, Any], killed: Path, tmp_path: Path) -> None:
    outputs = shutil.copytree(killed, tmp_path / "outputs")
    (checkpoint,) = outputs.glob("*/last.ckpt")
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"] = {f"{name}x": tensor for name, tensor in content["state_dict"].items()}
    torch.save(content, checkpoint)
    job, _ = run(values, outputs)
    assert job.state == "failed"
    assert "last.ckpt cannot be loaded: These weights belong to another method or backbone" in str(job.error)
    assert "overwrite=true" in str(job.error)


@pytest.mark.parametrize("damage", ["flipped", "other"])
def test_a_damaged_checkpoint_is_renamed_and_the_run_starts_again(
    damage: str, values: dict[str, Any], done: Path, killed: Path, tmp_path: Path
) -> None:
    outputs = shutil.copytree(killed, tmp_path / "outputs")
    (checkpoint,) = outputs.glob("*/last.ckpt")
    content = bytearray(checkpoint.read_bytes())
    for place in range(300, len(content), 900):
        content[place] ^= 8
    if damage == "other":
        torch.save({"state_dict": checkpoint}, checkpoint)  # a Path, which is neither weights nor numbers
    else:
        checkpoint.write_bytes(content)
    wrong = checkpoint.read_bytes()
    job, said = run(values, outputs)
    assert job.state == "done"
    assert "last.ckpt is damaged (" in said
    assert "weights_only" not in said
    assert "renamed to last.ckpt.damaged" in said
    assert (job.folder / "last.ckpt.damaged").read_bytes() == wrong
    assert (job.folder / "adapter.safetensors").read_bytes() == (done / "adapter.safetensors").read_bytes()
    jsonschema.validate(json.loads((job.folder / "result.json").read_text()), SCHEMA)


def test_a_done_run_reports_missing_and_damaged_files(values: dict[str, Any], done: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / done.name))
    assert not any("SHA-256" in message for message in run(values, tmp_path)[0].messages)
    flipped = bytearray((folder / "adapter.safetensors").read_bytes())
    flipped[-3] ^= 1
    (folder / "adapter.safetensors").write_bytes(flipped)
    (folder / "predictions.jsonl").unlink()
    said = "; ".join(run(values, tmp_path)[0].messages)
    assert f"{folder / 'adapter.safetensors'} is damaged or was changed" in said
    assert f"{folder / 'predictions.jsonl'} does not exist" in said
    with pytest.raises(KronaError, match=r"adapter\.safetensors is damaged or was changed.*overwrite=true"):
        find(folder)


def test_a_claimed_run_is_not_touched_by_another_process(values: dict[str, Any], done: Path, tmp_path: Path) -> None:
    claim = ownership.claim(tmp_path / done.name)
    job, said = run(values, tmp_path)
    assert (job.state, said) == ("running", "")
    assert f"is already running in process {os.getpid()}" in str(job.error)
    assert list(job.folder.iterdir()) == [claim.path]
    claim.release()


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that adds a call to the start of a step."""
    begin = Learner.on_train_batch_start

    def add(step: int, call: Callable[[], object]) -> None:
        def begin_and_call(self: Learner, batch: Any, batch_idx: int) -> None:
            begin(self, batch, batch_idx)
            if self.global_step == step:
                call()

        monkeypatch.setattr(Learner, "on_train_batch_start", begin_and_call)

    return add


def test_a_process_that_lost_its_run_writes_nothing(
    values: dict[str, Any], done: Path, tmp_path: Path, at_step: Any
) -> None:
    theirs = json.dumps({"host": "another-machine", "pid": 7, "token": "theirs"})
    at_step(5, lambda: (tmp_path / done.name / "claim.json").write_text(theirs))
    with pytest.raises(ownership.ClaimLostError, match="taken over by process 7 on another-machine"):
        run(values, tmp_path)
    result = read_result(tmp_path / done.name / "result.json")
    assert (result.status, len(result.dev_curve)) == ("running", 1)
    assert json.loads((tmp_path / done.name / "claim.json").read_text())["token"] == "theirs"


@pytest.mark.parametrize("lost", ["claim", "disk"])
def test_an_interrupt_that_cannot_be_recorded_ends_the_run(
    lost: str, values: dict[str, Any], done: Path, tmp_path: Path, at_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        if lost == "disk":
            full = Mock(side_effect=KronaError("no space left"))
            monkeypatch.setattr("krona.training.run_job.write_result", full)
        else:
            (tmp_path / done.name / "claim.json").write_text(json.dumps({"host": "another", "pid": 7, "token": "x"}))
        raise Interrupted(signal.SIGINT)

    at_step(0, stop)
    said = io.StringIO()
    with pytest.raises(Interrupted) as caught:
        run(values, tmp_path, multirun=True, file=said, width=300)
    assert caught.value.args == (signal.SIGINT,)
    assert "the interrupt could not be recorded" in said.getvalue()
    assert {"claim": "taken over by process 7", "disk": "no space left"}[lost] in said.getvalue()


def test_a_run_that_is_interrupted_after_its_training_has_no_scores_yet(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.surgery.is_mergeable", Mock(side_effect=Interrupted(signal.SIGINT)))
    with pytest.raises(Interrupted):
        run(values, tmp_path)
    (file,) = tmp_path.glob("*/result.json")
    result = read_result(file)
    assert (result.status, result.dev, result.test) == ("interrupted", None, None)
    assert result.progress["epoch"] == len(result.dev_curve) > 0
    assert result.progress["step"] == result.progress["steps"] > 0


def test_a_run_whose_output_is_not_read_any_more_is_interrupted(values: dict[str, Any], tmp_path: Path) -> None:
    closed = Mock(spec=io.StringIO, write=Mock(side_effect=BrokenPipeError(errno.EPIPE, "Broken pipe")))
    closed.isatty.return_value = False
    with pytest.raises(Interrupted) as caught:
        run(values, tmp_path, file=closed)
    assert caught.value.args == (signal.SIGPIPE,)
    assert [result.status for result in stored_results(tmp_path) if isinstance(result, Result)] == ["interrupted"]


@pytest.mark.parametrize("error", [Interrupted(signal.SIGINT), OSError("no connection")])
def test_an_error_after_the_last_file_keeps_the_finished_run(
    error: BaseException, values: dict[str, Any], done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tracking, "end", Mock(side_effect=error))  # uploading to a server may take minutes
    with suppress(Interrupted):
        job, said = run(values, tmp_path)
        assert job.state == "done"
        assert "the run is done, but then an error occurred: OSError: no connection" in said
    assert_same(tmp_path / done.name, done)


class Interrupting:
    """An object whose destructor receives a signal. Python suppresses the exceptions of destructors."""

    def __del__(self) -> None:
        interrupt(signal.SIGTERM, sys._getframe())


@pytest.mark.parametrize("lost", [False, True])
def test_an_interrupted_run_is_recorded_and_resumes(
    lost: bool, values: dict[str, Any], done: Path, tmp_path: Path, at_step: Any
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    if lost:
        at_step(1, Interrupting)  # the run then ends after its epoch
    else:
        at_step(5, Mock(side_effect=[Interrupted(signal.SIGTERM), None]))
    try:
        with pytest.raises(Interrupted) as caught:
            run(values, tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.args == (signal.SIGTERM,)
    folder = tmp_path / done.name
    content = json.loads((folder / "result.json").read_text())
    jsonschema.validate(content, SCHEMA)
    assert (content["status"], content["progress"]["epoch"]) == ("interrupted", 1)
    assert not (folder / "claim.json").exists()
    assert len(torch.load(folder / "last.ckpt", weights_only=True)["krona"]["dev_curve"]) == 1
    job, said = run(values, tmp_path)
    assert "resumes after epoch 1, step 3" in said
    assert_same(job.folder, done)


def test_files_left_by_a_killed_process_are_removed(values: dict[str, Any], done: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / done.name))
    there = {path.name for path in folder.iterdir()}
    claimed(folder, pid=dead_pid())
    (folder / "last.ckpt").write_bytes(b"x")
    aged(folder / ".adapter.safetensors.0123")
    assert run(values, tmp_path)[0].state == "done already"
    assert {path.name for path in folder.iterdir()} == there
    claimed(folder, pid=os.getpid())  # files of an owner that is alive stay
    run(values, tmp_path)
    assert (folder / "claim.json").exists()


@pytest.mark.parametrize("method", ["full", "lora", "untuned"])
def test_the_other_methods(method: str, small: list[str], tmp_path: Path) -> None:
    extra = [] if method != "untuned" else ["trainer.max_epochs=0"]
    job, _ = run(config(f"method={method}", *small, *extra), tmp_path)
    jsonschema.validate(json.loads((job.folder / "result.json").read_text()), SCHEMA)
    assert (job.folder / "adapter.safetensors").exists() == (method != "untuned")
    assert job.result.best_epoch == 0 if method == "untuned" else job.result.best_epoch in (1, 2, 3)
    assert not (job.folder / "last.ckpt").exists()
    assert job.result.provenance["mergeable"]
    rank = job.result.provenance["update_rank"]
    assert rank == 1 if method == "lora" else (rank is None) == (method != "full")
    added = (job.result.provenance["multiply_adds"], job.result.provenance["launches"])
    assert added == ((12 * (32 + 32), launches(inserted("lora"))) if method == "lora" else (0, 0))


@pytest.mark.parametrize(
    ("typed", "size", "kept"),
    [
        ("method=full", KEPT_BYTES - 1, True),
        ("method=full", KEPT_BYTES, False),
        ("method=full score_test=false", 1, False),
        ("method=full keep=adapter", 1, False),
        ("method=full keep=all score_test=false", KEPT_BYTES, True),
        ("method=lora keep=adapter score_test=false", KEPT_BYTES, True),
    ],
)
def test_which_weights_are_kept(typed: str, size: int, kept: bool) -> None:
    assert keeps_weights(check.settings(config(*typed.split())), size) == kept


@pytest.mark.slow
@pytest.mark.parametrize("trainer", [{"max_steps": 5}, {"patience": 1, "max_epochs": 6}])
def test_an_early_end_is_kept_after_a_kill(
    trainer: dict[str, int], values: dict[str, Any], tmp_path: Path, processes: Any
) -> None:
    short = {**values, "trainer": {**values["trainer"], **trainer}}
    job, _ = run(short, tmp_path / "a")
    steps = [row["step"] for row in curve(job.folder)]  # an epoch has three steps
    assert steps == [3, 5] if "max_steps" in trainer else steps == [3, 6, 9, 12, 15][: len(steps)]
    run_killed(processes, short, tmp_path / "b", ("written", 1 + 3 * len(steps)))
    run(short, tmp_path / "b")
    assert_same(tmp_path / "b" / job.run_id, job.folder)


def test_other_code_of_ones_own_is_another_run(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    module = tmp_path / "own_branch.py"

    def train(text: str) -> RunState:
        module.write_text(f"from krona.methods.lora import LoRA\n\n\nclass Mine(LoRA):\n    {text}\n")
        sys.modules.pop("own_branch", None)
        _own_modules.cache_clear()
        importlib.invalidate_caches()
        return finish(
            tmp_path / "outputs", "method=lora", "method._target_=own_branch.Mine", *small, "trainer.max_steps=1"
        )[0]

    one, other, again = train("x = 1"), train("y = 22"), train("x = 1")
    assert one.run_id != other.run_id
    assert (again.run_id, again.state) == (one.run_id, "done already")
    assert one.result.provenance["own_code"].keys() == {"own_branch"}
    assert own_code(config("method=lora", *small)) == {}  # the ids of krona's own classes do not change


def test_a_change_in_a_module_that_an_own_class_imports_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "own_package/branch.py": "import torch\nfrom own_package.core import scale\nfrom . import late\n",
        "own_package/core.py": "def scale():\n    from .deep.sums import add\n",
        "own_package/deep/__init__.py": "from ..late import *\n",
        "own_package/deep/sums.py": "import own_tools as tools\n",
        "own_package/late.py": "import own_package.branch\nraise RuntimeError('imported')\n",
        "own_package/unused.py": "",
        "own_tools.py": "not python\n",
        "torch_unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    values = {"method": {"_target_": "own_package.branch.Mine"}, "optimizer": {"_target_": "torch.optim.SGD"}}
    before = own_code(values)
    names = ("own_package.branch", "own_package.core", "own_package.deep", "own_package.deep.sums", "own_package.late")
    assert tuple(before) == (*names, "own_tools")
    (tmp_path / "own_tools.py").write_text("still not python\n")
    _own_modules.cache_clear()
    assert {name for name, digest in own_code(values).items() if digest != before[name]} == {"own_tools"}


def test_a_changed_method_of_the_package_is_reported(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = finish(tmp_path, "method=lora", *small)
    assert job.result.provenance["method_code"] == method_code(job.result.config)
    monkeypatch.setattr("krona.runs.run_id._hash_module", lambda module: "0" * 16)
    again, _ = finish(tmp_path, "method=lora", *small)
    assert again.state == "done already"
    assert "krona.methods.lora has changed since this run" in again.messages
    with pytest.warns(UserWarning, match=r"krona\.methods\.lora has changed since this run\. The model may compute"):
        load(job.folder)


def test_a_run_says_that_it_resumes_with_other_code(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit(name: str) -> None:
        found = {"git_commit": name, "git_dirty": False, "git_code": name}
        monkeypatch.setattr("krona.runs.run_id.code_version", lambda: found)

    commit("a" * 40)
    with pytest.raises(Interrupted):
        run(values, tmp_path, after_epoch=interrupt_after(1))
    commit("b" * 40)
    _, said = run(values, tmp_path)
    change = "krona has changed since this run, from commit aaaaaaaa to bbbbbbbb"
    assert f"The run resumes with other code: {change}." in said


def test_a_run_records_the_trees_of_src_and_conf() -> None:
    version = code_version()
    for key in ("git_src", "git_conf"):
        found = subprocess.run(["git", "cat-file", "-t", version[key]], cwd=PROJECT, capture_output=True, text=True)
        assert found.stdout == "tree\n"


def test_an_ended_run_keeps_no_model_in_memory(overrides: list[str], tmp_path: Path) -> None:
    gc.disable()  # else the collector could hide at a random moment what the run leaves
    try:
        gc.collect()
        before = sum(type(each) is Learner for each in gc.get_objects())
        finish(tmp_path, *overrides, "trainer.max_steps=1")
        assert sum(type(each) is Learner for each in gc.get_objects()) == before
    finally:
        gc.enable()
