"""Test signals to a process with children. The children record the interrupt, and the exit code shows the signal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from krona.messages import KronaError
from krona.training.jobs.child_processes import children, exit_code
from typed_run import wait_for

CHILD = """
import os, signal, sys, time
from pathlib import Path

folder, takes_s = Path(sys.argv[1]), float(sys.argv[2])

def stop(number, frame):
    for known in (signal.SIGINT, signal.SIGTERM):
        signal.signal(known, signal.SIG_DFL)  # a second one kills it
    (folder / f"stopping-{os.getpid()}").touch()
    time.sleep(takes_s)
    (folder / f"recorded-{os.getpid()}").write_text(str(int(number)))
    sys.exit(128 + number)

for known in (signal.SIGINT, signal.SIGTERM):
    signal.signal(known, stop)
(folder / f"ready-{os.getpid()}").touch()
time.sleep(60)
"""
PARENT = """
import signal, subprocess, sys
from krona.training.jobs.child_processes import children, exit_code

signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run in the background
folder, takes_s, number, child = sys.argv[1:]
with children(announce=int(number) > 1) as started:
    for _ in range(int(number)):
        started.append(subprocess.Popen([sys.executable, "-c", child, folder, takes_s]))
    for process in started:
        process.wait()
sys.exit(exit_code(started[0]))
"""


@contextmanager
def parent(folder: Path, *, workers: int, takes_s: float) -> Iterator[subprocess.Popen[str]]:
    """Start a process with children, in its own process group as in a terminal, and wait until all run."""
    command = [sys.executable, "-c", PARENT, str(folder), str(takes_s), str(workers), CHILD]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(process, lambda: len(list(folder.glob("ready-*"))) == workers)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("number", "to_all", "code"),
    [
        (signal.SIGINT, True, 130),  # as a terminal sends it
        (signal.SIGTERM, False, 143),
        (signal.SIGTERM, True, 143),  # as timeout(1) sends it
    ],
)
def test_workers_record_an_interrupt_before_their_parent_ends(
    workers: int, number: signal.Signals, to_all: bool, code: int, tmp_path: Path
) -> None:
    with parent(tmp_path, workers=workers, takes_s=0.6) as process:  # `subprocess.run` would wait for 0.25 s
        (os.killpg if to_all else os.kill)(process.pid, number)
        _, errors = process.communicate()
    assert process.returncode == code, errors
    assert [path.read_text() for path in tmp_path.glob("recorded-*")] == [str(int(number))] * workers
    assert errors == ("Interrupted. Run the same command again to resume.\n" if workers > 1 else "")


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    with parent(tmp_path, workers=1, takes_s=60) as process:
        os.killpg(process.pid, signal.SIGINT)
        wait_for(process, lambda: list(tmp_path.glob("stopping-*")))
        time.sleep(0.5)  # give the parent time to wait
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert not list(tmp_path.glob("recorded-*"))


def test_an_error_leaves_no_process_behind() -> None:
    before = signal.getsignal(signal.SIGTERM)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def fail() -> None:
        with children(announce=False) as started:
            started.append(child)
            raise KronaError("wrong")

    with pytest.raises(KronaError, match="wrong"):
        fail()
    assert child.returncode is not None
    assert exit_code(child) == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
