"""A run is killed, stopped and taken over, or has a full disk, at every change of a file; then it ends as ever."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from krona.cli.doctor import examine
from krona.runs.folder import RunFolder
from krona.runs.result import read_result
from one_job import config, typed
from torture.child import CRASHED, DONE, run_with

WAIT_S = 120


@dataclass(frozen=True)
class Sound:
    """A run that nothing disturbed: its config, its folder, and how many changes of files it made."""

    values: dict[str, Any]
    folder: Path
    changes: int
    context: Any

    def start(self, outputs: Path, act: str = "none", n: int = 0, count_to: Path | None = None) -> Any:
        arguments = (self.values, str(outputs), act, n, count_to and str(count_to))
        process = self.context.Process(target=run_with, args=arguments)
        process.start()
        return process

    def ended(self, process: Any) -> int:
        process.join(timeout=WAIT_S)
        if process.is_alive():
            process.kill()
            process.join()
            return -signal.SIGALRM
        return int(process.exitcode)

    def where(self, full: bool, small: list[float]) -> list[int]:
        """The changes to act before: all, or a few, as parts of the run."""
        return [*range(1, self.changes + 1)] if full else [max(1, int(part * self.changes)) for part in small]

    def differs(self, folder: Path) -> str | None:
        """How a run's folder differs from this one; None if it has the same bits."""
        for name in ("adapter.safetensors", "predictions.jsonl"):
            if not (folder / name).is_file():
                return f"{name} is gone"
            if (folder / name).read_bytes() != (self.folder / name).read_bytes():
                return f"{name} has other bytes"
        result, wrong = examine(RunFolder(folder))
        if result is None or wrong:
            return "; ".join(wrong)
        mine = read_result(self.folder / "result.json")
        if (result.status, result.dev, result.test, result.best_epoch) != (
            "done",
            mine.dev,
            mine.test,
            mine.best_epoch,
        ):
            return f"another result ({result.status})"
        left = {path.name for path in folder.iterdir()} - {path.name for path in self.folder.iterdir()}
        return f"left over: {sorted(left)}" if left else None


@pytest.fixture(scope="module")
def sound(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Sound:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["krona.training.run", "krona.training.progress", "krona.training.tracking", "torture.child"]
    )
    folder = tmp_path_factory.mktemp("sound")
    values = config("method=krona", *typed(tiny_folder, folder / "glue"), "trainer.max_epochs=2")
    first = Sound(values, folder, 0, context)
    assert first.ended(first.start(folder / "outputs", count_to=folder / "count")) == DONE
    (result,) = (folder / "outputs").glob("*/result.json")
    found = Sound(values, result.parent, int((folder / "count").read_text()), context)
    assert found.changes > 20
    assert found.differs(found.folder) is None
    return found


def test_killed_and_typed_again(full: bool, sound: Sound, tmp_path: Path, book: Any) -> None:
    with book("kills") as found:
        for n in sound.where(full, [0.5, 0.9]):
            outputs = tmp_path / str(n)
            killed = sound.ended(sound.start(outputs, "kill", n))
            again = sound.ended(sound.start(outputs))
            wrong = (
                sound.differs(outputs / sound.folder.name) if again == DONE else f"typed again it exits with {again}"
            )
            found.add(wrong and f"kill {n} of {sound.changes} (exit {killed}): {wrong}")


def test_a_full_disk_and_typed_again(full: bool, sound: Sound, tmp_path: Path, book: Any) -> None:
    with book("full disk") as found:
        for n in sound.where(full, [0.7]):
            outputs = tmp_path / str(n)
            refused = sound.ended(sound.start(outputs, "full", n))
            again = sound.ended(sound.start(outputs))
            wrong = (
                sound.differs(outputs / sound.folder.name) if again == DONE else f"typed again it exits with {again}"
            )
            if refused in (CRASHED, -signal.SIGALRM):
                wrong = f"a full disk ends it with exit code {refused}; {wrong or 'typed again it is whole'}"
            found.add(wrong and f"full from change {n} of {sound.changes}: {wrong}")


def test_stopped_taken_over_and_woken_up(full: bool, sound: Sound, tmp_path: Path, book: Any) -> None:
    with book("stops") as found:
        for n in sound.where(full, [0.6]):
            found.add(_stopped(sound, tmp_path / str(n), n))


def _stopped(sound: Sound, outputs: Path, n: int) -> str | None:
    """Stop a run before a change, let another finish it, wake the first up: what it then spoils."""
    folder = outputs / sound.folder.name
    first = sound.start(outputs, "stop", n)
    try:
        if not _is_stopped(first):
            return f"stop {n}: the run ended with {first.exitcode} instead"
        if (claim := folder / "claim.json").is_file():
            os.utime(claim, (time.time() - 3600,) * 2)
        if (code := sound.ended(sound.start(outputs))) != DONE:
            return f"stop {n} of {sound.changes}: who takes it over exits with {code}"
        before = {name: (folder / name).read_bytes() for name in ("result.json", "adapter.safetensors")}
        os.kill(first.pid, signal.SIGCONT)
        code = sound.ended(first)
        wrong = sound.differs(folder)
        if wrong is None and any((folder / name).read_bytes() != content for name, content in before.items()):
            wrong = "the finished result was written again"
        if wrong is None and code == CRASHED:
            wrong = "it ends with a stack trace"
        return wrong and f"stop {n} of {sound.changes}: after it woke up (exit {code}): {wrong}"
    finally:
        first.kill()
        first.join()


def _is_stopped(process: Any) -> bool:
    """Wait until a process has stopped itself; false if it ended."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and process.is_alive():
        if Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return True
        time.sleep(0.02)
    return False


def test_a_loss_fails_the_part_and_is_named(book: Any) -> None:
    def part() -> None:
        with book("none") as found:
            found.add(None)
            found.add("kill 3 of 9: gone")

    with pytest.raises(AssertionError, match="1 of 2 lost:\nkill 3 of 9: gone"):
        part()
