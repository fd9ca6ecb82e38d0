"""Signals to a process that has others: they record where they stopped, and its exit code says which signal it was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from krona.jobs.interrupts import children, exit_code
from krona.messages import KronaError

CHILD = """
import os, signal, sys, time
from pathlib import Path

folder, takes_s = Path(sys.argv[1]), float(sys.argv[2])

def stop(number, frame):
    for known in (signal.SIGINT, signal.SIGTERM):
        signal.signal(known, signal.SIG_DFL)  # a second one ends it at once
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
import signal
import subprocess
import sys

from krona.jobs.interrupts import children, exit_code

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
folder, takes_s, number, child = sys.argv[1:]
with children(announce=int(number) > 1) as started:
    for _ in range(int(number)):
        started.append(subprocess.Popen([sys.executable, "-c", child, folder, takes_s]))
    for process in started:
        process.wait()
sys.exit(exit_code(started[0]))
"""
NOTHING = [sys.executable, "-c", "import time; time.sleep(60)"]


@contextmanager
def parent(folder: Path, *, workers: int, takes_s: float) -> Iterator[subprocess.Popen[str]]:
    """A process with children, in a process group of its own, as in a terminal, once all of them run."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), str(takes_s), str(workers), CHILD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(folder, "ready-*", workers, process)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(folder: Path, pattern: str, count: int, process: subprocess.Popen[str]) -> None:
    while len(list(folder.glob(pattern))) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("number", "to_all", "code"),
    [
        (signal.SIGINT, True, 130),  # as a terminal does
        (signal.SIGTERM, False, 143),
        (signal.SIGTERM, True, 143),  # as timeout(1) does
    ],
)
def test_workers_record_an_interrupt_before_their_parent_ends(
    workers: int, number: signal.Signals, to_all: bool, code: int, tmp_path: Path
) -> None:
    with parent(tmp_path, workers=workers, takes_s=0.6) as process:  # `subprocess.run` would wait for 0.25 s
        if to_all:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == code, said
    assert [path.read_text() for path in tmp_path.glob("recorded-*")] == [str(int(number))] * workers
    told = "interrupted: the same command resumes it\n"
    assert said == (told if workers > 1 else "")


def test_a_second_ctrl_c_waits_for_nothing(tmp_path: Path) -> None:
    with parent(tmp_path, workers=1, takes_s=60) as process:
        os.killpg(process.pid, signal.SIGINT)
        wait_for(tmp_path, "stopping-*", 1, process)
        time.sleep(0.5)  # the parent waits by now
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert not list(tmp_path.glob("recorded-*"))


def test_a_mistake_leaves_no_process_behind() -> None:
    before = signal.getsignal(signal.SIGTERM)
    own: list[subprocess.Popen[bytes]] = []

    def mistaken() -> None:
        with children(announce=False) as started:
            own.append(subprocess.Popen(NOTHING))
            started.append(own[0])
            raise KronaError("wrong")

    with pytest.raises(KronaError, match="wrong"):
        mistaken()
    assert own[0].returncode is not None
    assert exit_code(own[0]) == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
