"""Test that a run that is disturbed at any change of a file ends with the result of an undisturbed run."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from krona.messages import KronaError
from krona.runs.folder import RunFolder
from krona.runs.predictions import read_outcomes
from krona.runs.result import read_result
from one_job import config
from torture.child import CRASHED, DONE, NO_DISK, run_on_small_disk, run_with
from torture.conftest import Losses

WAIT_S = 300
FILES = ("adapter.safetensors", "predictions.jsonl")


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run: its config, its folder, and how many changes of files it made."""

    values: dict[str, Any]
    folder: Path
    changes: int
    context: Any

    def start(self, outputs: Path, act: str = "none", n: int = 0, count_to: Path | None = None) -> Any:
        arguments = (self.values, str(outputs), act, n, count_to and str(count_to))
        process = self.context.Process(target=run_with, args=arguments)
        process.start()
        return process

    def run(self, outputs: Path, act: str = "none", n: int = 0) -> int:
        return self.wait(self.start(outputs, act, n))

    def wait(self, process: Any) -> int:
        process.join(timeout=WAIT_S)
        if process.is_alive():
            process.kill()
            process.join()
            return -signal.SIGALRM
        return int(process.exitcode)

    def find_difference(self, folder: Path) -> str | None:
        """Describe how a run's folder differs from this run's folder. Return None if the files are equal."""
        for name in FILES:
            if not (folder / name).is_file():
                return f"{name} is gone"
            if (folder / name).read_bytes() != (self.folder / name).read_bytes():
                return f"{name} has other bytes"
        run = RunFolder(folder)
        try:
            result = run.read()
            read_outcomes(result, run.predictions)
        except KronaError as error:
            return str(error)
        if damage := run.find_damage(result):
            return "; ".join(damage)
        mine = read_result(self.folder / "result.json")
        scores = [(one.status, one.dev, one.test, one.best_epoch) for one in (result, mine)]
        if scores[0] != scores[1]:
            return f"another result ({result.status})"
        left = {path.name for path in folder.iterdir()} - {path.name for path in self.folder.iterdir()}
        return f"left over: {sorted(left)}" if left else None


@pytest.fixture(scope="module")
def sound(small: list[str], tmp_path_factory: pytest.TempPathFactory, processes: Any) -> Undisturbed:
    folder = tmp_path_factory.mktemp("sound")
    values = config("method=krona", *small, "trainer.max_epochs=2")
    first = Undisturbed(values, folder, 0, processes)
    assert first.wait(first.start(folder / "outputs", count_to=folder / "count")) == DONE
    (result,) = (folder / "outputs").glob("*/result.json")
    found = Undisturbed(values, result.parent, int((folder / "count").read_text()), processes)
    assert found.changes > 20
    return found


@pytest.mark.parametrize(
    ("acts", "share"), [(["kill"], 0.9), (["term", "int"], 0.5), (["full"], 0.7), (["stop"], 0.6)], ids=str
)
def test_the_same_command_again_has_the_same_result(
    acts: list[str], share: float, slow_full: bool, sound: Undisturbed, tmp_path: Path, losses: Losses
) -> None:
    for n in range(1, sound.changes + 1) if slow_full else [int(share * sound.changes)]:
        outputs, act = tmp_path / str(n), acts[n % len(acts)]
        loss = stop_and_continue(sound, outputs, n) if act == "stop" else repeat(sound, outputs, act, n)
        losses.add(loss, f"{act} {n} of {sound.changes}")


def repeat(sound: Undisturbed, outputs: Path, act: str, n: int) -> str | None:
    """Disturb a run before a change, then run its command again."""
    first, again = sound.run(outputs, act, n), sound.run(outputs)
    if again != DONE:
        return f"exit {first}, then {again}"
    if act != "kill" and first in (CRASHED, -signal.SIGALRM):
        return f"it ends with exit code {first}"
    difference = sound.find_difference(outputs / sound.folder.name)
    return difference and f"exit {first}: {difference}"


@pytest.mark.parametrize(
    "options",
    [
        [f"size={size}k" for size in (40, *range(4, 40, 4), *range(44, 300, 16))],
        [f"nr_inodes={count}" for count in (9, *range(2, 9), *range(10, 40, 2))],
    ],
)
def test_a_small_disk(options: list[str], slow_full: bool, sound: Undisturbed, tmp_path: Path, losses: Losses) -> None:
    """Test a real file system that is too small, in which safetensors' writes fail too."""
    for option in options if slow_full else options[:1]:
        outputs, copy = tmp_path / option / "outputs", tmp_path / option / "copy"
        outputs.mkdir(parents=True)
        process = sound.context.Process(target=run_on_small_disk, args=(sound.values, str(outputs), option, str(copy)))
        process.start()
        if (code := sound.wait(process)) == NO_DISK:
            pytest.skip("this process may not mount a file system")
        loss = f"exit code {code}" if code != DONE else sound.find_difference(copy / sound.folder.name)
        losses.add(loss, option)


def stop_and_continue(sound: Undisturbed, outputs: Path, n: int) -> str | None:
    """Stop a run before a change, let another process finish the run, and continue the first process."""
    folder = outputs / sound.folder.name
    first = sound.start(outputs, "stop", n)
    try:
        if not wait_until_stopped(first):
            return f"the run ended with {first.exitcode} instead"
        if (claim := folder / "claim.json").is_file():
            os.utime(claim, (time.time() - 3600,) * 2)
        if (code := sound.run(outputs)) != DONE:
            return f"the process that takes it over exits with {code}"
        before = {name: (folder / name).read_bytes() for name in ("result.json", *FILES)}
        os.kill(first.pid, signal.SIGCONT)
        code = sound.wait(first)
        wrong = sound.find_difference(folder)
        if wrong is None and any((folder / name).read_bytes() != content for name, content in before.items()):
            wrong = "the finished result was written again"
        if wrong is None and code == CRASHED:
            wrong = "it ends with a stack trace"
        return wrong and f"after it continued (exit {code}): {wrong}"
    finally:
        first.kill()
        first.join()


def wait_until_stopped(process: Any) -> bool:
    """Wait until a process has stopped itself. Return false if it has ended instead."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and process.is_alive():
        if Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return True
        time.sleep(0.02)
    return False
