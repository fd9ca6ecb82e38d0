"""The index of results is never believed where the files say otherwise, and never needed."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from krona.report.selection import load
from krona.runs import index
from krona.runs.index import summaries, summary_of
from krona.runs.result import Result, read_result, write_result
from report.generate import grid, make_result, write_all


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve results that are old enough for the index, which is worth it from four on."""
    monkeypatch.setattr(index, "WORTH", 4)
    write_all(tmp_path, grid(["krona", "lora"], ["rte", "stsb"], [0, 1, 2], rows=20))
    for file in tmp_path.glob("*/result.json"):
        _set_age(file, 60)
    return tmp_path


def _set_age(file: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(file, (then, then))


def stored(outputs: Path) -> dict[str, str]:
    """The summaries in the cache, by run."""
    with closing(sqlite3.connect(outputs / index.FILE)) as opened:
        return dict(opened.execute("SELECT name, content FROM results"))


def from_files(outputs: Path) -> list[Result]:
    return [summary_of(read_result(file)) for file in sorted(outputs.glob("*/result.json"))]


def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, opening a result.json is a failure."""
    monkeypatch.setattr(index, "read_result", lambda path: pytest.fail(f"{path} was read"))


def test_the_second_time_no_file_is_opened_and_nothing_differs(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = from_files(outputs)
    assert summaries(outputs) == expected
    assert len(stored(outputs)) == 12
    unread(monkeypatch)
    assert summaries(outputs) == expected


def test_a_summary_has_all_but_outcomes_and_earlier_epochs(outputs: Path) -> None:
    whole = read_result(next(iter(sorted(outputs.glob("*/result.json")))))
    found = next(one for one in summaries(outputs) if isinstance(one, Result) and one.run_id == whole.run_id)
    assert found.config == whole.config
    assert (found.provenance, found.splits, found.times) == (whole.provenance, whole.splits, whole.times)
    assert found.dev_curve == whole.dev_curve[-1:]
    assert whole.test is not None
    assert found.test == {key: value for key, value in whole.test.items() if key != "outcomes"}


def test_what_runs_share_is_one_object_and_each_has_its_seed(outputs: Path) -> None:
    summaries(outputs)
    found = [one for one in summaries(outputs) if isinstance(one, Result)]
    assert len({id(one.config["method"]) for one in found}) == 4, "two methods on two tasks, of three seeds"
    assert sorted(one.config["seed"] for one in found) == 4 * [0] + 4 * [1] + 4 * [2]


def test_equal_parts_under_two_names_stay_two_settings(outputs: Path) -> None:
    for run_id, change in (("krona-rte-a", {"data": {}, "extra": {}}), ("krona-rte-b", {"data": {}, "extra": []})):
        result = make_result("krona", "rte", 0, rows=20)
        result.run_id = run_id
        result.config.update(change)
        write_all(outputs, [result])
        _set_age(outputs / run_id / "result.json", 60)
    for _ in range(2):  # from the files, then from the index, where equal parts are one object
        runs = {run.result.run_id: run for run in load([outputs])[0]}
        assert {"data={}", "extra={}"} <= set(runs["krona-rte-a"].variant)
        assert {"data={}", "extra="} <= set(runs["krona-rte-b"].variant)


def test_a_file_edited_by_hand_is_noticed(outputs: Path) -> None:
    summaries(outputs)
    file = next(iter(sorted(outputs.glob("*/result.json"))))
    content = json.loads(file.read_text())
    content["test"]["score"] += 1
    file.write_text(json.dumps(content))
    assert "edited by hand" in str(summaries(outputs)[0])
    _, problems = load([outputs])
    assert len(problems) == 1


def test_a_rewritten_run_is_read_again(outputs: Path) -> None:
    first = summaries(outputs)[0]
    assert isinstance(first, Result)
    write_result(outputs / first.run_id, make_again(outputs, first.run_id, notes=["anew"]))
    found = summaries(outputs)[0]
    assert isinstance(found, Result)
    assert found.notes == ["anew"]


def make_again(outputs: Path, run_id: str, *, notes: list[str]) -> Result:
    result = read_result(outputs / run_id / "result.json")
    result.notes = notes
    return result


def test_a_run_that_is_gone_is_gone(outputs: Path) -> None:
    first = summaries(outputs)[0]
    assert isinstance(first, Result)
    (outputs / first.run_id / "result.json").unlink()
    assert first.run_id not in [one.run_id for one in summaries(outputs) if isinstance(one, Result)]


@pytest.mark.parametrize("damage", ["cut", "other byte", "empty", "no database", "other tables"])
def test_a_damaged_cache_is_made_again(outputs: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    summaries(outputs)
    file = outputs / index.FILE
    whole = file.read_bytes()
    if damage == "other tables":
        with closing(sqlite3.connect(file)) as opened, opened:
            opened.execute("UPDATE results SET content = '[]'")
    else:
        file.write_bytes(
            {
                "cut": whole[:-10],
                "other byte": whole.replace(b'"krona"', b'"korna"', 1),
                "empty": b"",
                "no database": bytes(range(256)) * 40,
            }[damage]
        )
    expected = from_files(outputs)
    assert summaries(outputs) == expected
    unread(monkeypatch)
    assert summaries(outputs) == expected


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_folder_where_nothing_can_be_stored_is_read_all_the_same(kind: str, outputs: Path) -> None:
    place = (outputs / index.FILE).parent
    if kind == "file":
        place.write_text("a file where the folder would be")
    else:
        (outputs.parent / "elsewhere").mkdir()
        place.symlink_to(outputs.parent / "elsewhere")
    assert summaries(outputs) == from_files(outputs)
    assert kind == "file" or not list(place.iterdir())


def test_a_cache_that_another_process_has_locked_is_not_needed(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "BUSY_S", 0.1)
    summaries(outputs)
    with closing(sqlite3.connect(outputs / index.FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert summaries(outputs) == from_files(outputs)
    assert len(stored(outputs)) == 12


def test_running_and_brand_new_results_are_not_kept(outputs: Path) -> None:
    running = make_result("krona", "cola", 0, status="running")
    new = make_result("krona", "cola", 1, rows=20)
    write_all(outputs, [running, new])
    _set_age(outputs / running.run_id / "result.json", 60)
    summaries(outputs)
    kept = stored(outputs)
    assert running.run_id not in kept
    assert new.run_id not in kept, "it may change once more within its time stamp's resolution"


def test_a_build_is_stored_in_parts(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "BATCH", 5)
    read, reader = [], index.read_result

    def interrupted(path: Path) -> Result:
        read.append(path)
        if len(read) == 8:
            raise KeyboardInterrupt
        return reader(path)

    monkeypatch.setattr(index, "read_result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        summaries(outputs)
    assert len(stored(outputs)) == 5
    assert summaries(outputs) == from_files(outputs)
    assert len(read) == 8 + 7


def test_several_processes_may_build_it_at_once(outputs: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from krona.runs import index; index.WORTH = 4\n"
        "print(len(index.summaries(Path(sys.argv[1]))))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(outputs)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in started] == ["12"] * 3
    assert summaries(outputs) == from_files(outputs)
    assert len(stored(outputs)) == 12


def test_no_folder_has_no_results(tmp_path: Path) -> None:
    assert summaries(tmp_path / "none") == []
