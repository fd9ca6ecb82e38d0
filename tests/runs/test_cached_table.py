"""Test the cached table of results: a row is never used if its file has changed, and the cache is never required."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from krona.report.runs import load_runs
from krona.runs import frame
from krona.runs.frame import CACHE, strip_result, summaries
from krona.runs.result import Result, read_result, write_result
from report.generate import grid, make_result, write_all
from runs.made_runs import aged
from typed_run import output_of


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with twelve results that are old enough for the cache."""
    monkeypatch.setattr(frame, "MIN_NEW", 4)  # the number of results from which a cache is written
    write_all(tmp_path, grid(["krona", "lora"], ["rte", "stsb"], [0, 1, 2], rows=20))
    for file in tmp_path.glob("*/result.json"):
        aged(file)
    return tmp_path


def stored(outputs: Path) -> set[str]:
    """Return the names of the runs in the cache."""
    return {json.loads(text) for text in pyarrow.parquet.read_table(outputs / CACHE)["run_id"].to_pylist()}


def from_files(outputs: Path) -> list[Result]:
    return [strip_result(read_result(file)) for file in sorted(outputs.glob("*/result.json"))]


def test_the_second_time_no_file_is_opened_and_nothing_differs(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = from_files(outputs)
    assert summaries(outputs) == expected
    assert len(stored(outputs)) == 12
    monkeypatch.setattr(frame, "read_result", lambda path: pytest.fail(f"{path} was read"))
    assert summaries(outputs) == expected


def test_a_summary_lacks_only_what_differs_between_all_runs_or_is_large(outputs: Path) -> None:
    found = summaries(outputs)[0]
    whole = read_result(outputs / found.run_id / "result.json")
    assert found.config == whole.config
    assert (found.splits, found.progress, found.times) == (whole.splits, whole.progress, whole.times)
    times = {key: whole.provenance[key] for key in ("started", "finished")}
    assert {**found.provenance, **times} == whole.provenance
    assert found.provenance.keys().isdisjoint(times)
    last = whole.dev_curve[-1]
    assert found.dev_curve == [{key: last[key] for key in ("epoch", "step", "score")}]
    assert found.test == {key: whole.test[key] for key in ("score", "choice")}


def test_equal_parts_under_two_keys_stay_two_settings(outputs: Path) -> None:
    for run_id, change in (("krona-rte-a", {"data": {}, "extra": {}}), ("krona-rte-b", {"data": {}, "extra": []})):
        result = make_result("krona", "rte", 0, rows=20)
        result.run_id = run_id
        result.config.update(change)
        write_all(outputs, [result])
        aged(outputs / run_id / "result.json")
    for _ in range(2):  # first from the files, then from the cache, in which equal parts are one object
        settings = load_runs([outputs])[0].set_index("run_id").settings
        assert {"data": "{}", "extra": "{}"}.items() <= settings["krona-rte-a"].items()
        assert {"data": "{}", "extra": ""}.items() <= settings["krona-rte-b"].items()


def test_edited_rewritten_and_removed_files_are_noticed(outputs: Path) -> None:
    first, second, third, *_ = (one.run_id for one in summaries(outputs) if isinstance(one, Result))
    edited = outputs / first / "result.json"
    content = json.loads(edited.read_text())
    content["test"]["score"] += 1
    edited.write_text(json.dumps(content))
    rewritten = read_result(outputs / second / "result.json")
    rewritten.notes = ["again"]
    write_result(outputs / second, rewritten)
    (outputs / third / "result.json").unlink()
    found = summaries(outputs)
    assert isinstance(found[0], Result)
    assert found[0].test["score"] == content["test"]["score"]
    assert isinstance(found[1], Result)
    assert found[1].notes == ["again"]
    assert third not in [one.run_id for one in found if isinstance(one, Result)]


def test_an_interrupted_command_keeps_what_it_has_read(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> Result:
        if len(read_before) == 8:
            raise KeyboardInterrupt
        read_before.append(path.parent.name)
        return read_result(path)

    read_before: list[str] = []
    monkeypatch.setattr(frame, "read_result", read)
    with pytest.raises(KeyboardInterrupt):
        summaries(outputs)
    assert stored(outputs) == set(read_before)


def test_running_and_recent_results_are_not_stored(outputs: Path) -> None:
    running = make_result("krona", "cola", 0, status="running")
    recent = make_result("krona", "cola", 1, rows=20)  # may change again within the resolution of time stamps
    write_all(outputs, [running, recent])
    aged(outputs / running.run_id / "result.json")
    summaries(outputs)
    assert not {running.run_id, recent.run_id} & stored(outputs)


def test_a_missing_folder_has_no_results(tmp_path: Path) -> None:
    assert summaries(tmp_path / "none") == []


def test_several_processes_may_build_it_together(outputs: Path) -> None:
    code = "import sys; from pathlib import Path; from krona.runs import frame; frame.MIN_NEW = 4\n"
    command = [sys.executable, "-c", f"{code}print(len(frame.summaries(Path(sys.argv[1]))))", str(outputs)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in started] == ["12"] * 3
    assert summaries(outputs) == from_files(outputs)
    assert len(stored(outputs)) == 12


def test_a_damaged_cache_and_one_of_another_version_are_not_used(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = summaries(outputs)
    monkeypatch.setattr(frame, "VERSION", b"other")
    assert summaries(outputs) == expected
    (outputs / CACHE).write_bytes(b"PAR1 damaged")
    assert summaries(outputs) == expected


def test_reading_small_results_imports_neither_pandas_nor_pyarrow(tmp_path: Path) -> None:
    write_all(tmp_path, grid(["lora"], ["rte"], [0], rows=20))
    code = (
        "import sys; from pathlib import Path; from krona.runs.frame import summaries; summaries(Path(sys.argv[1])); "
        "print({'pandas', 'pyarrow', 'jinja2', 'torch'} & set(sys.modules))"
    )
    assert output_of(sys.executable, "-c", code, tmp_path).strip() == "set()"
