"""Test an owner that was stopped at any file operation. It must not change any file of the next owner."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from krona.runs import claim as claims
from krona.runs.claim import LAPSE_S, Claim, ClaimLostError, claim
from krona.runs.file_names import WRITTEN
from krona.runs.folder import RunFolder
from krona.runs.result import Result, write_result
from krona.training import claimed_run
from krona.training.run_files import write_end, write_epoch
from krona.training.trainer import AtomicCheckpoints
from one_job import config, run


class Stops:
    """An audit hook that calls a function before the n-th file operation in a folder."""

    def __init__(self) -> None:
        self.folder, self.number, self.meanwhile = Path("/nowhere"), 0, lambda: None
        sys.addaudithook(self.hear)

    def set(self, folder: Path, number: int, meanwhile: Callable[[], None]) -> None:
        self.folder, self.number, self.meanwhile = folder, number, meanwhile

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.number or event.partition(".")[0] not in ("open", "os", "shutil"):
            return
        paths = [str(one) for one in arguments[:2] if isinstance(one, str | os.PathLike)]
        if event in ("os.remove", "os.rename", "os.rmdir"):  # paths relative to an open folder
            paths += [os.readlink(f"/proc/self/fd/{one}") for one in arguments[1:] if isinstance(one, int) and one >= 0]
        if threading.current_thread() is threading.main_thread() and any(str(self.folder) in one for one in paths):
            self.number -= 1
            if not self.number:
                self.meanwhile()


@pytest.fixture(scope="module")
def stops() -> Stops:
    return Stops()  # one hook for all tests, because it cannot be removed


@pytest.fixture(scope="module")
def end(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the arguments with which a real run writes its final files."""
    kept: dict[str, Any] = {}

    def keep(run: RunFolder, claim: Claim, *arguments: Any, backbone: Any) -> None:
        kept.update(arguments=arguments, result=arguments[1], backbone=backbone)

    values = config("method=lora", *small)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("krona.training.run.write_end", keep)
        run({**values, "trainer": {**values["trainer"], "max_epochs": 1}}, tmp_path_factory.mktemp("outputs"))
    return kept


def claim_write_release(folder: Path, end: dict[str, Any]) -> None:
    """Write all files of a run in the order of `krona.training.claimed_run`."""
    mine = claim(folder)
    if mine is None:
        return
    try:
        if RunFolder(folder).state(ignore_claim=True).state == "done":
            return
        for name in WRITTEN:
            mine.remove(folder / name)
        result: Result = end["result"]
        result.status = "running"
        write_epoch(RunFolder(folder), mine, result)
        AtomicCheckpoints(mine.write).save_checkpoint({"step": 1}, folder / "last.ckpt")
        result.status = "done"
        write_end(RunFolder(folder), mine, *end["arguments"], backbone=end["backbone"])
        claimed_run._finish(result, folder, mine, "done", None)
    except ClaimLostError:
        pass
    finally:
        mine.release()


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def take_over(folder: Path) -> Claim:
    """Claim a run as if its owner had no heartbeat."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("has_lapsed", "stands_still"):
            patch.setattr(claims, name, lambda path: True)
        theirs = claim(folder)
    assert theirs is not None
    return theirs


@pytest.mark.parametrize("releases", [True, False], ids=["the-next-has-ended", "the-next-still-runs"])
def test_a_stopped_owner_destroys_nothing(
    releases: bool, end: dict[str, Any], stops: Stops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: None)  # makes the test faster
    number, stopped = 0, 0
    while number == stopped:
        number += 1
        folder = tmp_path / str(number) / end["result"].run_id
        after: dict[str, bytes] = {}
        others: list[Claim] = []

        def meanwhile(folder: Path = folder, after: dict[str, bytes] = after, others: list[Claim] = others) -> None:
            end["result"].status = "done"
            theirs = take_over(folder)
            for name in WRITTEN:
                theirs.write(folder / name, lambda part: part.write_text("the next owner's"))
            write_result(folder, end["result"], theirs.write)
            if releases:
                theirs.release()
            others.append(theirs)
            after.update(content(folder))

        stops.set(folder, number, meanwhile)
        claim_write_release(folder, end)
        stops.set(Path("/nowhere"), 0, lambda: None)
        if others:
            stopped += 1
            assert content(folder) == after, f"operation {number}"
            if not releases:
                others[0].check()
                others[0].release()
        assert not list(folder.glob(".own-*")), f"operation {number}"
    assert stopped > 60  # every operation was tested, and the last pass ran without a stop
    assert set(content(folder)) == {"adapter.safetensors", "metrics.csv", "predictions.jsonl", "result.json"}


def test_the_message_names_the_new_owner(tmp_path: Path) -> None:
    file = tmp_path / "run" / "x"
    mine = claim(file.parent)
    assert mine is not None
    theirs = take_over(file.parent)
    message = f"The run run was taken over by process {os.getpid()} on .* It has not changed the run since then"
    for write in (lambda: mine.write(file, Path.touch), lambda: mine.remove(file)):
        with pytest.raises(ClaimLostError, match=message):
            write()
    theirs.release()
    with pytest.raises(ClaimLostError, match="taken over by a process that has already ended"):
        mine.check()
    mine.release()
    assert list(file.parent.iterdir()) == []


def test_files_of_a_killed_owner_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".own-dead").mkdir()
    (tmp_path / ".own-dead" / ".adapter.safetensors.tmp").write_bytes(b"half a gigabyte")
    for name in (".now.1", ".claim.1", ".takeover.1", "result.json"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - LAPSE_S - 10,) * 2)
    (tmp_path / ".now.recent").touch()  # another process is reading the claim
    mine = claim(tmp_path)
    assert mine is not None
    assert {path.name for path in tmp_path.iterdir()} == {"claim.json", mine.staging.name, ".now.recent", "result.json"}
    mine.release()
