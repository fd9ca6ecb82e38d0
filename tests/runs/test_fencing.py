"""An owner that was stopped for long: at whatever file operation, it changes nothing of what the next owner wrote."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from krona.jobs import run_job
from krona.runs import claim as ownership
from krona.runs.claim import Claim, ClaimLostError, claim
from krona.runs.folder import RunFolder
from krona.runs.names import WRITTEN
from krona.runs.result import Result, write_result
from krona.training.files import RunFiles, WholeCheckpoints
from krona.training.ranks import Ranks
from one_job import config, run, typed


class Stops:
    """An audit hook: before the file operation of a number in a folder, something else happens."""

    def __init__(self) -> None:
        self.folder, self.number, self.meanwhile = Path("/nowhere"), 0, lambda: None
        sys.addaudithook(self.hear)

    def set(self, folder: Path, number: int, meanwhile: Callable[[], None]) -> None:
        self.folder, self.number, self.meanwhile = folder, number, meanwhile

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.number or event.partition(".")[0] not in ("open", "os", "shutil"):
            return
        paths = [str(one) for one in arguments[:2] if isinstance(one, str | os.PathLike)]
        if event in ("os.remove", "os.rename", "os.rmdir"):  # relative to an open folder
            paths += [os.readlink(f"/proc/self/fd/{one}") for one in arguments[1:] if isinstance(one, int) and one >= 0]
        if threading.current_thread() is threading.main_thread() and any(str(self.folder) in one for one in paths):
            self.number -= 1
            if not self.number:
                self.meanwhile()


@pytest.fixture(scope="module")
def stops() -> Stops:
    return Stops()  # a hook can't be removed


@pytest.fixture(scope="module")
def end(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a real run gives to the function that writes its end."""
    kept: dict[str, Any] = {}

    def keep(self: RunFiles, settings: Any, result: Any, model: Any, predictions: Any, *, backbone: Any) -> None:
        kept.update(settings=settings, result=result, model=model, predictions=predictions, backbone=backbone)

    values = config("method=lora", *typed(tiny_folder, tmp_path_factory.mktemp("data") / "glue"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFiles, "write_end", keep)
        run({**values, "trainer": {**values["trainer"], "max_epochs": 1}}, tmp_path_factory.mktemp("outputs"))
    return kept


def whole_life(folder: Path, end: dict[str, Any]) -> None:
    """A run's claim and all its writes, as `krona.jobs.run_job` makes them."""
    held = claim(folder)
    if held is None:
        return
    try:
        if RunFolder(folder).state(owned=False)[0] == "done":
            return
        for name in WRITTEN:
            held.remove(folder / name)
        files = RunFiles(folder=folder, claim=held, ranks=Ranks())
        result: Result = end["result"]
        result.status = "running"
        files.write_epoch(result)
        WholeCheckpoints(held.write).save_checkpoint({"step": 1}, folder / "last.ckpt")
        result.status = "done"
        files.write_end(end["settings"], result, end["model"], end["predictions"], backbone=end["backbone"])
        run_job._finish(result, folder, held, "done", None)
    except ClaimLostError:
        pass
    finally:
        held.release()


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def next_owner(folder: Path, end: dict[str, Any], patch: pytest.MonkeyPatch, *, releases: bool) -> Claim:
    """Another process takes the run over, as if the first showed no sign of life, and ends it."""
    with patch.context() as only_here:
        for name in ("has_lapsed", "stands_still"):
            only_here.setattr(ownership, name, lambda path: True)
        held = claim(folder)
    assert held is not None
    for name in WRITTEN:
        held.write(folder / name, lambda part: part.write_text("the next owner's"))
    write_result(folder, end["result"], held.write)
    if releases:
        held.release()
    return held


@pytest.mark.parametrize("releases", [True, False], ids=["the-next-has-ended", "the-next-still-runs"])
def test_stopped_at_any_file_operation_it_destroys_nothing(
    releases: bool, end: dict[str, Any], stops: Stops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: None)  # fast
    number, events = 0, 0
    while number == events:
        number += 1
        folder = tmp_path / str(number) / end["result"].run_id
        after: dict[str, bytes] = {}
        others: list[Claim] = []

        def meanwhile(folder: Path = folder, after: dict[str, bytes] = after, others: list[Claim] = others) -> None:
            end["result"].status = "done"
            others.append(next_owner(folder, end, monkeypatch, releases=releases))
            after.update(content(folder))

        stops.set(folder, number, meanwhile)
        whole_life(folder, end)
        stops.set(Path("/nowhere"), 0, lambda: None)
        if others:
            events += 1
            assert content(folder) == after, f"operation {number}"
            if not releases:
                others[0].check()
                others[0].release()
        assert not list(folder.glob(".own-*")), f"operation {number}"
    assert events > 60  # all of them: the last life was not stopped
    assert set(content(folder)) == {"adapter.safetensors", "metrics.csv", "predictions.jsonl", "result.json"}


def test_it_says_who_has_the_run_and_that_it_wrote_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = claim(tmp_path / "run")
    assert mine is not None
    for name in ("has_lapsed", "stands_still"):
        monkeypatch.setattr(ownership, name, lambda path: True)
    theirs = claim(tmp_path / "run")
    assert theirs is not None
    where = f"this run was taken over by process {os.getpid()} on .* it has written nothing since then"
    for write in (lambda: mine.write(tmp_path / "run" / "x", Path.touch), lambda: mine.remove(tmp_path / "run" / "x")):
        with pytest.raises(ClaimLostError, match=where):
            write()
    theirs.release()
    with pytest.raises(ClaimLostError, match="taken over by a process that has ended"):
        mine.check()
    mine.release()
    assert list((tmp_path / "run").iterdir()) == []


def test_what_a_killed_owner_left_is_swept(tmp_path: Path) -> None:
    desk = tmp_path / ".own-dead"
    desk.mkdir()
    (desk / ".adapter.safetensors.tmp").write_bytes(b"half a gigabyte")
    for name in (".now.1", ".claim.1", ".takeover.1"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / ".now.young").touch()  # another process is just looking
    mine = claim(tmp_path)
    assert mine is not None
    assert {path.name for path in tmp_path.iterdir()} == {"claim.json", mine.staging.name, ".now.young"}
    mine.release()
