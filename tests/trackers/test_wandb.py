"""Test W&B runs with W&B's own reader: offline, resumed, and online with a local server."""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from tests.trackers.one_run import config, history_of, one_run, read_wandb
from tests.trackers.wandb_server import Mode, WandbServer, serve

from krona.runs.processes import Interrupted
from krona.runs.result import read_result
from krona.trackers import weights_and_biases
from krona.trackers.weights_and_biases import wandb_id
from one_job import interrupt_after, same_files

QUICK = ["logger=wandb", "logger.wandb.timeout=2.0"]


def wandb_files(outputs: Path, run_id: str = "*") -> list[Path]:
    return sorted((outputs / "wandb").glob(f"*run-*-{run_id}/run-*.wandb"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    monkeypatch.chdir(tmp_path)  # `wandb sync` writes its logs into the working directory
    with serve() as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        yield running


def sync(lines: list[str]) -> str:
    """Run the command that the output of the run shows, and return the command's output."""
    (said,) = (line for line in lines if "wandb sync" in line)
    words = re.search(r"wandb (sync .*?) uploads", said)
    command = [sys.executable, "-m", "wandb", *words[1].split()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout + done.stderr


def test_two_runs_of_one_process_have_two_wandb_runs(tmp_path: Path, plain: Path) -> None:
    named = ["logger.wandb.name='first try'", "logger.wandb.entity=team", "logger.wandb.notes='typed, too'"]
    every = "trainer.log_every_n_steps=1"
    for changes in ([], ["method.kron_factors=[[2,96]]", f"logger.wandb.dir={tmp_path / 'new'}", *named]):
        job, lines = one_run(tmp_path, "logger=[wandb,tensorboard]", every, *changes, "sweep=shapes")
        if not changes:
            assert same_files(plain, job.folder)
        assert sum("wandb:" in line for line in lines) == 1
        assert any("offline (no API key is set; run wandb login)" in line for line in lines)
    (first,), (second,) = wandb_files(tmp_path), wandb_files(tmp_path / "new")
    for path in (first, second):
        told, history = read_wandb(path, summary=True), history_of(path)
        result = read_result(tmp_path / told["run_id"] / "result.json")
        name = result.run_id if path == first else "first try"
        assert (told["project"], told["name"], told["exit_code"]) == ("krona", name, 0)
        assert told["tags"] == ["krona", "sample_sst2"]
        records = read_wandb(path)
        run = next(record["run"] for record in records if record["type"] == "run")
        assert (run["run_group"], run["job_type"]) == ("shapes", "train")
        assert path == first or (run["entity"], run["notes"]) == ("team", "typed, too")
        losses = [row["history"]["item"] for row in records if row["type"] == "history"]
        losses = [(row["trainer/global_step"], row["train/step_loss"]) for row in losses if "train/step_loss" in row]
        assert [step for step, _ in losses] == [0, 1, 2, 3]  # two steps in each epoch
        means = [sum(loss for _, loss in losses[2 * i : 2 * i + 2]) / 2 for i in range(2)]
        assert means == pytest.approx([row["loss"] for row in result.dev_curve])
        assert told["config"]["method/kron_factors"] == json.dumps(result.config["method"]["kron_factors"])
        assert told["config"]["optimizer/lr"] == result.config["optimizer"]["lr"]
        assert [row["dev/score"] for row in history] == [row["score"] for row in result.dev_curve]
        assert [row["train/loss"] for row in history] == [row["loss"] for row in result.dev_curve]
        assert [row["train/epoch"] for row in history] == [1, 2]
        for row in history:
            for key in ("grad_norm/A", "grad_norm/layer_norm", "train/lr"):
                assert row[key] > 0, key
        summary = told["summary"]
        assert summary["test/score"] == result.test["score"]
        assert summary["dev/best"] == result.dev["score"]
        assert summary["params/trainable"] == result.trainable_params
        table = json.loads((path.parent / "files" / summary["test/predictions"]["path"]).read_text())
        with (tmp_path / result.run_id / "predictions.jsonl").open() as file:
            rows = [row for row in map(json.loads, file) if row["split"] == "test"]
        words = {"0": "negative", "1": "positive"}
        assert table["columns"] == ["id", "source", "target", "prediction", "right"]
        assert [line[2] for line in table["data"]] == [words[row["target"]] for row in rows]
        chart = next(item for item in summary if item.startswith("test/confusion"))
        counts = json.loads((path.parent / "files" / summary[chart]["path"]).read_text())
        expected = Counter((words[row["target"]], words.get(row["prediction"], "no label")) for row in rows)
        assert Counter({(line[0], line[1]): line[2] for line in counts["data"] if line[2]}) == expected


VARIABLES = {
    "WANDB_PROJECT": "theirs", "WANDB_NAME": "first try", "WANDB_RUN_GROUP": "night", "WANDB_JOB_TYPE": "probe",
    "WANDB_TAGS": "paper, draft", "WANDB_NOTES": "a note, of the environment", "WANDB_ENTITY": "team",
    "WANDB_MODE": "disabled", "WANDB_DIR": "elsewhere",
}  # fmt: skip


def test_variables_of_wandb_set_defaults_unless_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    default = config("logger=wandb")["logger"]["wandb"]
    keys = ("project", "name", "group", "job_type", "tags", "notes", "entity", "mode", "dir")
    assert [default[key] for key in keys] == ["krona", None, None, "train", None, None, None, "auto", None]
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    assert config("logger=wandb")["logger"]["wandb"] == default
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    given = config("logger=wandb")["logger"]["wandb"]
    expected = ["theirs", "first try", "night", "probe", ["paper", "draft"], "a note, of the environment"]
    expected += ["team", "disabled", "elsewhere"]
    assert [given[key] for key in keys] == expected
    assert config("logger=wandb", "logger.wandb.tags=null")["logger"]["wandb"]["tags"] is None
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_DISABLED", "true")
    assert config("logger=wandb")["logger"]["wandb"]["mode"] == "disabled"


def test_interrupted_and_resumed_offline_is_one_run(tmp_path: Path, plain: Path, server: WandbServer) -> None:
    offline = ["logger=wandb", "logger.wandb.mode=offline"]
    with pytest.raises(Interrupted):
        one_run(tmp_path, *offline, after_epoch=interrupt_after(1))
    assert len(wandb_files(tmp_path)) == 1
    job, said = one_run(tmp_path, *offline)
    assert same_files(plain, job.folder)
    both = wandb_files(tmp_path)
    assert [[row["train/epoch"] for row in history_of(file)] for file in both] == [[1], [2]]
    output = sync(said)
    assert server.epochs(job.run_id) == [1, 2], output


def test_online_and_resumed_online(tmp_path: Path, plain: Path, server: WandbServer) -> None:
    with pytest.raises(Interrupted):
        one_run(tmp_path, "logger=wandb", after_epoch=interrupt_after(1))
    run = server.run(plain.name)
    assert server.epochs(plain.name) == [1]
    assert run["exit_code"] == 130
    job, lines = one_run(tmp_path, "logger=wandb", "logger.wandb.log_adapter=true")
    assert any("wandb: online, http" in line for line in lines)
    assert same_files(plain, job.folder)
    assert list(server.runs) == [plain.name]
    assert server.epochs(plain.name) == [1, 2]
    assert run["exit_code"] == 0
    assert run["tags"] == ["krona", "sample_sst2"]
    assert run["config"]["factors"]["value"] == "32x24"
    assert run["summary"]["test/score"] == read_result(job.folder / "result.json").test["score"]
    assert any(name.startswith("media/table/test/predictions") for name in run["files"])


@pytest.mark.parametrize("mode", ["refuse", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("hang", "drop"))])
def test_a_server_that_fails_at_the_start(mode: Mode, tmp_path: Path, plain: Path, server: WandbServer) -> None:
    server.mode = mode
    job, lines = one_run(tmp_path, *QUICK)
    server.mode = "answer"
    sync(lines)
    assert same_files(plain, job.folder)
    assert server.epochs(job.run_id) == [1, 2]
    said = [line for line in lines if "wandb" in line]
    assert len(said) == 1
    assert "offline (the server failed: " in said[0]
    assert "wandb sync" in said[0]
    (path,) = [path for path in wandb_files(tmp_path) if path.parent.name.startswith("offline")]
    assert [row["train/epoch"] for row in history_of(path)] == [1, 2]


@pytest.mark.parametrize("mode", [pytest.param("hang", marks=pytest.mark.slow), "drop"])
def test_the_network_fails_during_a_run(
    mode: Mode, tmp_path: Path, plain: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_and_biases, "UPLOAD", 0.2)
    monkeypatch.setenv("WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL", "0.1")  # seconds; W&B's default is 15

    def watch(learner: Any) -> None:
        until = time.monotonic() + 60
        while server.mode == "answer" and time.monotonic() < until and not server.epochs(plain.name):
            time.sleep(0.05)
        server.mode = mode

    patient = ["logger=wandb", "logger.wandb.timeout=15.0", "logger.wandb.table_rows=0"]
    job, lines = one_run(tmp_path, *patient, after_epoch=watch)
    wandb.teardown()
    assert server.epochs(job.run_id) == [1], "what the server has before the rest is uploaded"
    server.mode = "answer"
    sync(lines)
    assert same_files(plain, job.folder)
    said = [line for line in lines if "wandb" in line]
    assert len(said) == 2
    assert "online" in said[0]
    assert "the server did not accept all values within 3 s. The command wandb sync" in said[1]
    assert server.epochs(job.run_id) == [1, 2]
    (path,) = wandb_files(tmp_path)
    told = [row["train/loss"] for row in history_of(path)]
    assert told == [row["train/loss"] for row in server.run(job.run_id)["history"].values() if "dev/score" in row]
    assert told == [row["loss"] for row in read_result(job.folder / "result.json").dev_curve]


def test_run_ids_fit_wandb() -> None:
    assert wandb_id("krona-rte-t5_base-32x24-s0-1f3a5c7e9b") == "krona-rte-t5_base-32x24-s0-1f3a5c7e9b"
    assert wandb_id("a:b;c,d#e?f/g'h-0123456789") == "a_b_c_d_e_f_g_h-0123456789"
    longer = wandb_id("m" * 80 + "-0123456789")
    assert len(longer) == 64
    assert longer.endswith("-0123456789")
