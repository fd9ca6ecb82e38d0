"""Test commands in separate processes: exit codes, messages, the Hub, signals, imports and shell completion."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub_server import Hub, serve
from local_server import LocalHandler, running
from tasks.test_hub import glue_repository
from typed_run import PROJECT, start, train, wait_for

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def hub(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    data = glue_repository(tmp_path_factory.mktemp("hub") / "glue")
    with serve({"datasets/nyu-mll/glue": data, "models/google-t5/t5-base": tiny_folder}) as server:
        yield server


def only_result(outputs: Path) -> Path:
    (path,) = outputs.glob("*/result.json")
    return path


@pytest.mark.slow
def test_the_default_command_from_the_hub_and_then_from_its_cache(hub: Hub, tmp_path: Path) -> None:
    outputs, home = tmp_path / "outputs", tmp_path / "home"
    short = ["trainer.max_steps=2", "batch_size=4", "optimizer.warmup_steps=1"]
    done = train(outputs, "method=krona", "task=rte", *short, env=hub.environment(home))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    result = json.loads(only_result(outputs).read_text())
    assert (result["status"], result["data_kind"], result["provenance"]["pretrained"]) == ("done", "glue", True)
    assert {name: split["rows"] for name, split in result["splits"].items()} == {"train": 20, "dev": 3, "test": 4}
    assert str(only_result(outputs)) in done.stdout
    rows = map(json.loads, (only_result(outputs).parent / "predictions.jsonl").read_text().splitlines())
    ((source, target),) = {(row["source"], row["target"]) for row in rows if row["id"] == "validation-3"}
    assert (source, target) == ("sentence1: The validation cat no. 3. sentence2: A cat.", "1")
    asked = set(hub.requests)
    assert any("GET /datasets/nyu-mll/glue/resolve/" in request for request in asked)
    assert any("google-t5/t5-base/resolve/" in request and "model.safetensors" in request for request in asked)
    offline = Hub(url=NOWHERE).environment(home)
    again = train(outputs, "method=krona", "task=rte", "seed=1", *short, env=offline)
    assert (again.returncode, again.stderr) == (0, ""), again.stderr


class Dropping(LocalHandler):
    """A server that closes each connection without an answer, and counts the connections."""

    attempts: list[Any]

    def handle(self) -> None:
        self.attempts.append(self.client_address)


def test_without_a_network_it_is_one_message_after_one_connection_attempt(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    attempts: list[Any] = []
    with running(Dropping, attempts=attempts) as url:
        offline = Hub(url=url).environment(tmp_path / "home")
        done = train(tmp_path / "outputs", "method=krona", "task=rte", env=offline, cwd=tmp_path / "elsewhere")
    assert len(attempts) == 1  # the libraries would repeat their requests for half a minute
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    for part in ("nyu-mll/glue (rte)", "profile=demo", "backbone.path=FOLDER", "data.path=FOLDER", "HF_ENDPOINT"):
        assert part in line
    assert not list((tmp_path / "outputs").glob("*/*"))
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_is_recorded_and_the_same_command_goes_on(
    number: signal.Signals, code: int, small: list[str], tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    command = [*small, "trainer.max_epochs=40"]
    process = start(outputs, *command)
    wait_for(process, lambda: list(outputs.glob("*/last.ckpt")))
    if number == signal.SIGINT:
        process.send_signal(signal.SIGSTOP)
        second = train(outputs, *command)
        process.send_signal(signal.SIGCONT)
        assert (second.returncode, second.stdout) == (1, "")
        assert f"is already running in process {process.pid} on" in second.stderr
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code
    assert errors == "Interrupted. Run the same command again to resume.\n"
    assert json.loads(only_result(outputs).read_text())["status"] == "interrupted"
    if number == signal.SIGINT:
        done = train(outputs, *command)
        assert (done.returncode, done.stderr) == (0, "")
        assert "resumes after epoch" in done.stdout
        assert len(json.loads(only_result(outputs).read_text())["dev_curve"]) == 40


SLOW = ["torch", "transformers", "datasets", "pytorch_lightning", "scipy", "pandas", "sklearn", "matplotlib", "wandb"]
BOTH = ["pydantic", "numpy"]
SLOW += BOTH
CODE = f"""
import runpy, sys
program, *sys.argv[1:] = sys.argv[1:]
try:
    if program == "krona":
        runpy.run_module(program, run_name="__main__")
    else:
        runpy.run_path(program, run_name="__main__")
finally:
    print("imported:", *[name for name in {SLOW!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("command", "imported", "words"),
    [
        ([str(PROJECT / "train.py"), "--help"], [], ["krona_b_res", "32x24", "krona train", 'eval "$(python']),
        (["krona", "--help"], [], ["predict", "params"]),
        (["krona", "list"], BOTH, ["no runs yet"]),
        (["krona", "check-data", "sample_rte", "data=sample"], BOTH, ["2,000", "usable: "]),
        ([str(PROJECT / "train.py"), "--cfg", "job", "optimizer.lr=0.1", "method=lora"], BOTH, ["lr: 0.1"]),
        ([str(PROJECT / "train.py"), "-m", "method=lora,krona", "seed=0,1", "--dry-run"], BOTH, ["4 runs"]),
    ],
)
def test_a_command_imports_only_what_it_needs(
    command: list[str], imported: list[str], words: list[str], tmp_path: Path
) -> None:
    environment = {**os.environ, "KRONA_OUTPUTS": str(tmp_path), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *command], env=environment, cwd=tmp_path, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-1].split()[1:] == imported
    assert [word for word in words if word not in done.stdout + done.stderr] == []
    assert list(tmp_path.iterdir()) == []
