"""python train.py as people type it, in processes of its own: exit codes, what is said, the Hub's real path."""

import json
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_server import Hub, serve
from krona.runs.result import read_result
from one_job import typed
from tasks.test_hub import glue_repository
from typed_run import start, train

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def hub(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    data = glue_repository(tmp_path_factory.mktemp("hub") / "glue")
    with serve({"datasets/nyu-mll/glue": data, "models/google-t5/t5-base": tiny_folder}) as server:
        yield server


def only_result(outputs: Path) -> Path:
    (path,) = outputs.glob("*/result.json")
    return path


def test_the_default_command_from_the_hub_and_then_from_its_cache(hub: Hub, tmp_path: Path) -> None:
    outputs, home = tmp_path / "outputs", tmp_path / "home"
    short = ["trainer.max_steps=2", "batch_size=4", "optimizer.warmup_steps=1"]
    done = train(outputs, "method=krona", "task=rte", *short, env=hub.environment(home))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    result = read_result(only_result(outputs))
    assert (result.status, result.provenance["data_kind"], result.provenance["pretrained"]) == ("done", "glue", True)
    assert {name: split["rows"] for name, split in result.splits.items()} == {"train": 20, "dev": 3, "test": 4}
    assert str(only_result(outputs)) in done.stdout
    asked = set(hub.requests)
    assert any("google-t5/t5-base/resolve/" in request and "model.safetensors" in request for request in asked)
    offline = Hub(url=NOWHERE).environment(home)
    again = train(outputs, "method=krona", "task=rte", "seed=1", *short, env=offline)
    assert (again.returncode, again.stderr) == (0, ""), again.stderr


def test_without_a_network_it_is_one_message_within_30_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    done = train(tmp_path / "outputs", "method=krona", "task=rte", env=Hub(url=NOWHERE).environment(tmp_path / "home"))
    assert time.monotonic() - began < 30
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Not found in the local cache: the data set nyu-mll/glue (rte) and the backbone")
    for way_out in ("profile=demo", "backbone=local backbone.path=FOLDER", "data=tsv data.path=FOLDER", "HF_ENDPOINT"):
        assert way_out in line
    assert not list((tmp_path / "outputs").glob("*/*"))


def test_a_mistake_is_one_line_on_stderr(tmp_path: Path) -> None:
    done = train(tmp_path / "outputs", "method=full", "method.rank=3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: method.rank: the method full has no rank: it has no branch\n"


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    said = ""
    while text not in said:
        line = process.stdout.readline()
        if not line:
            pytest.fail(f"it ended without {text!r}: {said} {process.communicate()}")
        said += line
    return said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_is_recorded_and_the_same_command_goes_on(
    number: signal.Signals, code: int, tiny_folder: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    command = [*typed(tiny_folder, tmp_path / "glue"), "trainer.max_epochs=40"]
    process = start(outputs, *command)
    wait_for(process, "epoch  2/")
    if number == signal.SIGINT:
        process.send_signal(signal.SIGSTOP)
        second = train(outputs, *command)
        process.send_signal(signal.SIGCONT)
        assert (second.returncode, second.stdout) == (1, "")
        assert f"is being run by process {process.pid} on" in second.stderr
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code
    assert errors == "interrupted: the same command resumes it\n"
    assert json.loads(only_result(outputs).read_text())["status"] == "interrupted"
    if number == signal.SIGINT:
        done = train(outputs, *command)
        assert (done.returncode, done.stderr) == (0, "")
        assert "resumes after epoch" in done.stdout
        assert len(read_result(only_result(outputs)).dev_curve) == 40


def test_a_disk_that_is_full_for_real(tiny_folder: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    command = ["method=full", "keep=all", *typed(tiny_folder, tmp_path / "glue"), "hydra.run.dir=" + str(outputs)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # inherited by what is started
    try:
        process = start(outputs, *command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "last.ckpt could not be written" in errors
    assert len(errors.splitlines()) == 1
    (folder,) = (path.parent for path in outputs.glob("*/result.json"))
    assert sorted(path.name for path in folder.iterdir()) == [".hydra", "metrics.csv", "result.json", "train.log"]
    assert read_result(folder / "result.json").status == "failed"


def test_help_and_the_resolved_config(tmp_path: Path) -> None:
    text = train(tmp_path / "outputs", "method=krona", "--help").stdout
    for word in (
        "krona_b_res",
        "sample_rte",
        "32x24",
        "flan_t5_base",
        "optimizer.lr=1e-3",
        "python train.py",
        'eval "$(python',
    ):
        assert word in text
    shown = train(tmp_path / "outputs", "method=krona", "--cfg", "job", "task=rte").stdout
    for line in ("lr: 0.002", "batch_size: 100", "warmup_steps: 500", "max_epochs: 20", "name: google-t5/t5-base"):
        assert line in shown
    assert "${" not in shown


def test_it_works_from_any_folder_and_writes_only_there(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    done = train(tmp_path / "outputs", "data=tsv", "data.path=nowhere", "backbone=nano", cwd=tmp_path / "elsewhere")
    assert (done.returncode, done.stderr) == (1, "error: data.path=nowhere: no such folder\n")
    assert list((tmp_path / "elsewhere").iterdir()) == []
