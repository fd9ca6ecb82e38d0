"""Test a sweep with several workers: an interrupt, a killed worker, and the GPU of each worker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from krona.messages import KronaError
from krona.sweeps.workers import WORKER, _environment, run_sweep
from typed_run import wait_for

TWO = ["method=lora", "seed=0,1", "score_test=false"]
RUN_SWEEP = """
import sys
from pathlib import Path

from krona.sweeps.workers import run_sweep

sys.exit(run_sweep(sys.argv[2:], outputs=Path(sys.argv[1]), workers=2)[0])
"""


@contextmanager
def two_workers(outputs: Path, *overrides: str) -> Iterator[subprocess.Popen[str]]:
    """Run a sweep in two workers, and wait until each has finished an epoch."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_SWEEP, str(outputs), *overrides],
        env={**os.environ, "KRONA_OUTPUTS": str(outputs)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for(process, lambda: len(list(outputs.glob("*/last.ckpt"))) == 2)
        yield process
    finally:
        with suppress(ProcessLookupError):  # the process and its workers have ended
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupt_is_recorded_by_all_workers(
    number: signal.Signals, to_all: bool, small: list[str], tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    with two_workers(outputs, *TWO, *small, "trainer.max_epochs=500") as process:
        (os.killpg if to_all else os.kill)(process.pid, number)  # a terminal sends it to all
        _, err = process.communicate()
    assert (process.returncode, err) == (128 + number, "Interrupted. Run the same command again to resume.\n")
    assert [json.loads(path.read_text())["status"] for path in outputs.glob("*/result.json")] == ["interrupted"] * 2
    assert not list(outputs.glob("*/claim.json"))


@pytest.mark.slow
def test_another_process_resumes_the_run_of_a_killed_worker(small: list[str], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    with two_workers(outputs, *TWO, *small, "trainer.max_epochs=30") as process:
        killed, other = outputs.glob("*/claim.json")
        os.kill(json.loads(killed.read_text())["pid"], signal.SIGKILL)
        out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    assert "1 worker killed" in out
    assert "2 runs: 2 done" in out
    assert "resumes after epoch" in (killed.parent / "train.log").read_text()
    assert "resumes after epoch" not in (other.parent / "train.log").read_text()
    assert not list(outputs.glob("*/claim.json"))


def test_each_worker_has_its_own_gpu_and_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("krona.sweeps.workers.cpu_count", lambda: 8)
    assert _environment(1, 2) == {WORKER: "1/2", "OMP_NUM_THREADS": "4"}
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [_environment(number, 3)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7f")
    assert [_environment(number, 2)["CUDA_VISIBLE_DEVICES"] for number in range(2)] == ["4", "GPU-7f"]
    assert _environment(0, 1) == {}


def test_workers_cannot_repeat_finished_runs(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match="overwrite=true would repeat each run in each worker"):
        run_sweep(["overwrite=true"], outputs=tmp_path, workers=2)
