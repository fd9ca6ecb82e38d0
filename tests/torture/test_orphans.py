"""Test that the processes of a killed command end: joblib's worker processes, and torchrun's ranks."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from krona.runs.folder import RunFolder
from krona.runs.processes import PARENT, is_alive
from typed_run import PROJECT, wait_for

WAIT_S = 15
ROOM_S = 15  # for a machine whose cores are busy with other tests
TRAIN = [sys.executable, str(PROJECT / "train.py")]
PART = ["method=lora", "score_test=false", "trainer.accelerator=cpu", "trainer.max_epochs=2000"]
TABLE = [sys.executable, "-m", "krona", "table", "1", "task=rte"]


def descendants(pid: int) -> set[int]:
    """Return the ids of a process's living descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return {child for child in found - {pid} if is_alive(child)}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads /proc")
@pytest.mark.parametrize(
    ("command", "runs", "processes"),
    [
        ([*TRAIN, "-m", *PART, "seed=0,1", "trainer.devices=2"], 1, 3),  # torchrun and two ranks
        ([*TRAIN, *PART, "trainer.devices=2"], 1, 2),  # torchrun is the killed process
        ([*TABLE, *PART, "seed=0"], 1, 1),
        ([*TRAIN, "-m", *PART, "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 2, 2),
    ],
    ids=["torchrun in a sweep", "torchrun", "table", "joblib"],
)
def test_the_processes_of_a_killed_command_end(
    command: Sequence[str], runs: int, processes: int, small: list[str], tmp_path: Path
) -> None:
    if "hydra/launcher=joblib" in command and importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        pytest.skip("pip install -e '.[cluster]'")
    outputs = tmp_path / "outputs"
    settings = [item for item in small if not item.startswith("trainer.max_epochs")]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [*command, *settings], cwd=tmp_path, text=True, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, "KRONA_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        wait_for(process, lambda: len(list(outputs.glob("*/last.ckpt"))) == runs)
        started = descendants(process.pid)
        assert len(started) >= processes
    finally:
        process.kill()
        process.wait()
    until = time.monotonic() + WAIT_S + ROOM_S
    while (left := {*filter(is_alive, started)}) and time.monotonic() < until:
        time.sleep(0.1)
    took = time.monotonic() - until + WAIT_S + ROOM_S
    remain = []
    for pid in left:  # only if the test fails
        with suppress(OSError):
            remain.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
            os.kill(pid, signal.SIGKILL)
    assert not remain
    print(f"{len(started)} processes ended in {took:.1f} s")
    assert [RunFolder(path.parent).state().state for path in outputs.glob("*/last.ckpt")] == ["interrupted"] * runs


SLOW_EXIT = """
import atexit, signal, time
from krona.cli.train import exit_codes
from krona.runs.processes import Interrupted

with exit_codes():
    atexit.register(time.sleep, 60)
    raise Interrupted(signal.SIGTERM)
"""


def test_an_interrupted_child_process_exits_in_a_few_seconds() -> None:
    environment = {**os.environ, PARENT: str(os.getpid())}
    process = subprocess.Popen([sys.executable, "-c", SLOW_EXIT], env=environment, stderr=subprocess.DEVNULL)
    assert process.wait(45) == -signal.SIGALRM
