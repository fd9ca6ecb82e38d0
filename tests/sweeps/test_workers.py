"""Test a sweep with several workers: it survives a killed worker, and records interrupts."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from krona.cli import launch
from krona.jobs.child_processes import PARENT
from krona.sweeps import workers
from krona.sweeps.workers import run_sweep
from one_job import typed

TWO = ["method=lora", "seed=0,1", "score_test=false"]
RUN_SWEEP = """
import sys

from krona.sweeps.workers import run_sweep

sys.exit(run_sweep(sys.argv[1:], workers=2))
"""


def owners(outputs: Path) -> list[int]:
    found = []
    for path in outputs.glob("*/claim.json"):
        with suppress(OSError, ValueError):  # the claim was released, or is incomplete
            found.append(int(json.loads(path.read_text())["pid"]))
    return found


@pytest.mark.slow
def test_a_killed_worker_loses_no_run(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outputs = tmp_path / "outputs"
    monkeypatch.setenv("KRONA_OUTPUTS", str(outputs))
    killed = []

    def kill_one() -> None:
        deadline = time.monotonic() + 100
        while not killed and time.monotonic() < deadline:
            time.sleep(0.01)
            killed.extend(owners(outputs)[:1])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    sweep = [*TWO, *typed(tiny_folder, tmp_path / "glue")]
    code = run_sweep(sweep, workers=2)
    killer.join()
    out, err = capfd.readouterr()
    assert (code, err) == (1, ""), out
    assert f"process {killed[0]} was killed" in out
    assert "2 runs: 1 done, 1 failed" in out
    assert run_sweep(sweep, workers=2) == 0
    out, err = capfd.readouterr()
    assert "2 runs: 1 done, 1 done already" in out
    assert out.count("1/2  ") == 2  # a line for a run that starts and one for a run that ends
    assert re.search(r"1/2  .* starts\n2/2  .* starts\n", out)
    assert [json.loads(path.read_text())["status"] for path in outputs.glob("*/result.json")] == ["done"] * 2
    assert owners(outputs) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupt_is_recorded_by_all_workers(
    number: signal.Signals, to_all: bool, tiny_folder: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    overrides = [*TWO, *typed(tiny_folder, tmp_path / "glue"), "trainer.max_epochs=500"]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_SWEEP, *overrides],
        env={**os.environ, "KRONA_OUTPUTS": str(outputs)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while len(list(outputs.glob("*/last.ckpt"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    if to_all:
        os.killpg(process.pid, number)  # as a terminal sends it
    else:
        process.send_signal(number)
    _, err = process.communicate()
    assert (process.returncode, err) == (128 + number, "Interrupted. Run the same command again to resume.\n")
    assert [json.loads(path.read_text())["status"] for path in outputs.glob("*/result.json")] == ["interrupted"] * 2
    assert owners(outputs) == []


def test_train_py_ends_with_the_command_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    started = SimpleNamespace(returncode=0, wait=lambda: 0, poll=lambda: 0)
    monkeypatch.setattr(workers.subprocess, "Popen", lambda command, env: environments.append(env) or started)
    environments: list[dict[str, str]] = []
    assert run_sweep(["seed=0"], workers=1) == 0
    for name in (PARENT, "HYDRA_FULL_ERROR"):
        monkeypatch.setenv(name, environments[0].get(name, ""))
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(launch.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(launch, "end_with_parent", told.append)
    with pytest.raises(SystemExit) as end:
        launch.launch(lambda: None)
    assert (end.value.code, told) == (0, [os.getpid()])
    assert PARENT not in os.environ  # its own children have another parent
