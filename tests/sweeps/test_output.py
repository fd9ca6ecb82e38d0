"""Test the output of a multirun: progress, and the columns, order and next command of the closing table."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from krona.runs.folder import RunFolder, RunState
from krona.runs.result import write_result
from krona.sweeps.output import TOTAL, close, progress_line, read_outcome, show
from krona.training import summary
from report.generate import make_result
from runs.made_runs import claimed
from typed_run import printed


def job(outputs: Path, *overrides: str, state: str = "done", **made: object) -> RunState:
    result = make_result(**made)
    return RunState(result.run_id, state, outputs / result.run_id, result, overrides=overrides)


def said(jobs: list[RunState], sweep: str = "x") -> list[str]:
    return printed(lambda console: show(jobs, console, sweep=sweep)).splitlines()


def shapes(outputs: Path) -> list[RunState]:
    """Return jobs of two shapes and two rates. The second axis comes first in the alphabet."""
    jobs = []
    for a1, a2 in ((32, 24), (2, 384)):
        for lr in ("3e-3", "1e-3"):
            typed = ["task=rte", f"method.kron_factors=[[{a1},{a2}]]", f"optimizer.lr={lr}"]
            jobs.append(job(outputs, *typed, change={"method.kron_factors": [[a1, a2]], "optimizer.lr": float(lr)}))
    return jobs


def test_each_axis_with_different_values_has_a_column_and_paths_have_the_order_of_rows(tmp_path: Path) -> None:
    jobs = shapes(tmp_path)
    lines = said(jobs)
    (heading,) = [number for number, line in enumerate(lines) if line.startswith("kron_factors")]
    assert lines[heading].split() == ["kron_factors", "lr", "dev", "test", "time", "state"]
    rows = [line.split()[:2] for line in lines[heading + 2 : heading + 6]]
    assert rows == [["32x24", "3e-3"], ["32x24", "1e-3"], ["2x384", "3e-3"], ["2x384", "1e-3"]]
    assert "krona, rte, GLUE, 158,208 trainable parameters" in lines
    paths = [line for line in lines if line.endswith("result.json")]
    assert paths == [str(one.folder / "result.json") for one in jobs]


def test_failed_jobs_are_rows_and_can_be_repeated(tmp_path: Path) -> None:
    wrong = RunState(
        "batch_size=0 seed=1", "failed", tmp_path, error="batch_size=0: too small", overrides=("batch_size=0",)
    )
    broke = replace(job(tmp_path, "batch_size=8", state="failed", status="failed"), error="loss is nan")
    lines = said([wrong, broke, job(tmp_path, "batch_size=16")])
    assert [line.split()[0] for line in lines if line.endswith(("  failed", "  done"))] == ["0", "8", "16"]
    assert "3 runs: 1 done, 2 failed" in lines
    assert "batch_size=0 seed=1: batch_size=0: too small" in lines
    assert any("retry=failed" in line for line in lines)


def test_the_last_line_is_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "OUTPUTS", tmp_path)
    jobs = shapes(tmp_path)
    for sweep, command in {
        "factor_shapes": "krona report factor_shapes",
        "table1": "krona report --sweep table1",  # `krona report table1` is Table 1
        "my sweep": "krona report 'my sweep'",
    }.items():
        assert said(jobs, sweep=sweep)[-1] == f"next: {command}"
    monkeypatch.setattr(summary, "OUTPUTS", tmp_path / "others")
    assert said(jobs, sweep="x")[-1] == f"next: krona report x --outputs {tmp_path}"
    failed = RunState("x", "failed", tmp_path, error="no")
    assert said([failed], sweep="x")[-1] == "next: krona list"


def test_a_note_is_printed_once_with_the_number_of_runs(tmp_path: Path) -> None:
    runs = [("krona", 0), ("krona", 1), ("krona", 2), ("lora", 0)]
    jobs = [job(tmp_path, f"method={name}", f"seed={seed}", method=name, seed=seed) for name, seed in runs]
    jobs = [replace(one, messages=["the code has changed"]) for one in jobs]
    for one in jobs:
        one.result.notes = ["the warm-up is longer", *(["a shape is fitted"] if one.result.method == "krona" else [])]
    lines = said(jobs)
    assert "note (4 of 4 runs): the warm-up is longer" in lines
    assert "note (3 of 4 runs): a shape is fitted" in lines
    assert "note (4 of 4 runs): the code has changed" in lines
    assert sum("warm-up" in line for line in lines) == 1
    assert "note (1 of 1 run): the warm-up is longer" in said(jobs[-1:])


def test_notes_of_the_first_run_are_not_repeated_after_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.sweeps.output.finished_seconds", [])
    monkeypatch.setattr("krona.sweeps.output.shown_notes", set())
    jobs = [job(tmp_path, f"seed={seed}", seed=seed) for seed in (0, 1)]
    for number, one in enumerate(jobs):
        one.result.notes = ["6 rows are cut", *["a shape is fitted"] * number]
        progress_line(one, number, at_a_time=1)
    lines = said(jobs)
    assert not any("cut" in line for line in lines)
    assert "note (1 of 2 runs): a shape is fitted" in lines


def test_a_score_below_the_minimum_is_named_and_fails(tmp_path: Path) -> None:
    one = job(tmp_path)
    assert one.result is not None
    assert one.result.test is not None
    write_result(one.folder, one.result)
    score = one.result.test["score"]
    codes = list[int]()

    def finish(minimum: float) -> str:
        return printed(lambda console: codes.append(close([one], console, sweep="x", min_score=minimum)))

    assert f"{one.run_id}: the test score {score:.2f} is below min_score=99." in " ".join(finish(99.0).split())
    assert "is below" not in finish(score)
    assert codes == [1, 0]


def test_an_interrupted_run_needs_no_retry(tmp_path: Path) -> None:
    one = replace(job(tmp_path, state="failed"), error="process 1 was lost")
    one.result.status = "interrupted"
    assert not any("retry=failed" in line for line in said([one]))


def test_a_progress_line_has_the_position_and_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOTAL, "12")
    monkeypatch.setattr("krona.sweeps.output.finished_seconds", [])

    def line(number: int, seconds: float, state: str = "done") -> str:
        one = job(tmp_path, state=state)
        one.result.times["total"] = seconds
        return progress_line(one, number, at_a_time=2)

    assert line(0, 9, "done already").startswith("1/12  done already  krona-")
    assert "2/12  failed  x: no" in progress_line(RunState("x", "failed", tmp_path, error="no"), 1, at_a_time=2)
    assert line(2, 10).endswith("  10 s; about 50 s left")  # 9 jobs, two at a time
    assert line(3, 20).endswith("  20 s; about 60 s left")
    assert line(10, 15).endswith("  15 s; about 15 s left")  # one job is left
    assert line(11, 15).endswith("  15 s")
    assert "left" not in progress_line(job(tmp_path), 4, at_a_time=None)


@pytest.mark.parametrize(
    ("before", "after", "state", "error"),
    [
        (None, "done", "done", None),
        ("done", "done", "done already", None),
        ("failed", "failed", "failed", "loss is nan"),
        (None, "interrupted", "interrupted", "Run the same command again to resume"),
        (None, None, "waiting", "no result"),
        (None, "claimed", "running", "another process"),
    ],
)
def test_the_outcome_of_a_run_is_in_its_folder(
    before: Any, after: Any, state: str, error: str | None, tmp_path: Path
) -> None:
    result = make_result("krona", "rte")
    folder = tmp_path / result.run_id

    def write(status: Any) -> None:
        if status == "claimed":
            folder.mkdir()
            claimed(folder, os.getpid())
        elif status is not None:
            result.status, result.error = status, "loss is nan" if status == "failed" else None
            write_result(folder, result)

    write(before)
    planned = RunFolder(folder).state()
    if after != before:
        write(after)
    job = read_outcome(planned)
    assert job.state == state
    assert error is None if job.error is None else error in job.error


def test_a_run_that_was_repeated_is_not_done_already(tmp_path: Path) -> None:
    result = make_result("krona", "rte")
    write_result(tmp_path / result.run_id, result)
    planned = RunFolder(tmp_path / result.run_id).state()
    result.provenance["finished"] = "2030-01-01T00:00:00+00:00"
    write_result(tmp_path / result.run_id, result)
    assert read_outcome(planned).state == "done"
