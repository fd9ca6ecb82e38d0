"""Test a sweep with several workers: its command, and the record of an interrupt."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from krona.cli import launch
from krona.sweeps import workers
from krona.sweeps.workers import run_sweep
from krona.training.jobs.child_processes import PARENT
from typed_run import wait_for

TWO = ["method=lora", "seed=0,1", "score_test=false"]
RUN_SWEEP = """
import sys

from krona.sweeps.workers import run_sweep

sys.exit(run_sweep(sys.argv[1:], workers=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupt_is_recorded_by_all_workers(
    number: signal.Signals, to_all: bool, small: list[str], tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    overrides = [*TWO, *small, "trainer.max_epochs=500"]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_SWEEP, *overrides],
        env={**os.environ, "KRONA_OUTPUTS": str(outputs)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for(process, lambda: len(list(outputs.glob("*/last.ckpt"))) == 2)
    (os.killpg if to_all else os.kill)(process.pid, number)  # a terminal sends it to all
    _, err = process.communicate()
    assert (process.returncode, err) == (128 + number, "Interrupted. Run the same command again to resume.\n")
    assert [json.loads(path.read_text())["status"] for path in outputs.glob("*/result.json")] == ["interrupted"] * 2
    assert not list(outputs.glob("*/claim.json"))


@pytest.mark.parametrize(("count", "more"), [(1, []), (2, ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])])
def test_train_py_ends_with_the_command_that_started_it(
    count: int, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    started = SimpleNamespace(returncode=0, wait=lambda: 0, poll=lambda: 0)
    monkeypatch.setattr(workers.subprocess, "Popen", lambda command, env: begun.append((command, env)) or started)
    begun: list[tuple[list[str], dict[str, str]]] = []
    assert run_sweep(["seed=0"], workers=count) == 0
    ((command, environment),) = begun
    assert command[-2 - len(more) :] == ["-m", "seed=0", *more]
    for name in (PARENT, "HYDRA_FULL_ERROR"):
        monkeypatch.setenv(name, environment.get(name, ""))
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(launch.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(launch, "end_with_parent", told.append)
    with pytest.raises(SystemExit) as end:
        launch.launch(lambda: None)
    assert (end.value.code, told) == (0, [os.getpid()])
    assert PARENT not in os.environ  # its own children have another parent
