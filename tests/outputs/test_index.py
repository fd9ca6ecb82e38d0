"""The index of results is never believed where the files say otherwise, and never needed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from krona.outputs import index
from krona.outputs.index import summaries, summary_of
from krona.outputs.result import Result, read_result, write_result
from krona.report.selection import load
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


def segments(outputs: Path) -> list[Path]:
    return sorted((outputs / index.FOLDER).glob("*.json"))


def from_files(outputs: Path) -> list[Result]:
    return [summary_of(read_result(file)) for file in sorted(outputs.glob("*/result.json"))]


def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, opening a result.json is a failure."""
    monkeypatch.setattr(index, "read_result", lambda path: pytest.fail(f"{path} was read"))


def test_the_second_time_no_file_is_opened_and_nothing_differs(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = from_files(outputs)
    assert summaries(outputs) == expected
    assert len(segments(outputs)) == 1
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


def test_what_runs_share_is_stored_once_and_each_has_its_seed(outputs: Path) -> None:
    summaries(outputs)
    _, _, body = segments(outputs)[0].read_bytes().partition(b"\n")
    assert len(json.loads(body)["configs"]) == 4, "two methods on two tasks, of three seeds"
    assert sorted(one.config["seed"] for one in summaries(outputs) if isinstance(one, Result)) == 4 * [0] + 4 * [
        1
    ] + 4 * [2]


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


@pytest.mark.parametrize("damage", ["cut", "other byte", "empty", "other version", "no text"])
def test_a_damaged_segment_is_put_aside_and_made_anew(outputs: Path, damage: str) -> None:
    summaries(outputs)
    (segment,) = segments(outputs)
    whole = segment.read_bytes()
    segment.write_bytes(
        {
            "cut": whole[:-10],
            "other byte": whole.replace(b'"krona"', b'"korna"', 1),
            "empty": b"",
            "other version": whole.replace(b"krona index 5", b"krona index 2", 1),
            "no text": bytes(range(256)),
        }[damage]
    )
    assert summaries(outputs) == from_files(outputs)
    assert segment not in segments(outputs)
    assert len(segments(outputs)) == 1


def test_a_folder_where_nothing_can_be_written_is_read_all_the_same(outputs: Path) -> None:
    (outputs / index.FOLDER).write_text("a file where the folder would be")
    assert summaries(outputs) == from_files(outputs)


def test_running_and_brand_new_results_are_not_kept(outputs: Path) -> None:
    running = make_result("krona", "cola", 0, status="running")
    new = make_result("krona", "cola", 1, rows=20)
    write_all(outputs, [running, new])
    _set_age(outputs / running.run_id / "result.json", 60)
    summaries(outputs)
    kept = "".join(segment.read_text() for segment in segments(outputs))
    assert running.run_id not in kept
    assert new.run_id not in kept, "it may change once more within its time stamp's resolution"


def test_many_segments_become_one(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SEGMENTS", 2)
    monkeypatch.setattr(index, "BATCH", 3)
    expected = summaries(outputs)
    assert len(segments(outputs)) == 4
    assert summaries(outputs) == expected
    assert len(segments(outputs)) == 1
    unread(monkeypatch)
    assert summaries(outputs) == expected


def test_several_processes_may_build_it_at_once(outputs: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from krona.outputs import index; index.WORTH = 4\n"
        "print(len(index.summaries(Path(sys.argv[1]))))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(outputs)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in started] == ["12"] * 3
    assert summaries(outputs) == from_files(outputs)
    assert segments(outputs)


def test_no_folder_has_no_results(tmp_path: Path) -> None:
    assert summaries(tmp_path / "none") == []
