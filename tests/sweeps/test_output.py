"""Test the output of a multirun: progress, and the columns, order and next command of the closing table."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from krona import paths
from krona.runs.folder import RunFolder, RunState
from krona.runs.result import write_result
from krona.sweeps.multirun import close, read_outcome, show
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


def test_a_row_has_the_overrides_in_which_its_run_differs(tmp_path: Path) -> None:
    lines = said(shapes(tmp_path))
    (heading,) = [number for number, line in enumerate(lines) if line.startswith("run ")]
    assert lines[heading].split() == ["run", "state", "dev", "test", "time"]
    shapes_of_rows = [("[[32,24]]", "3e-3"), ("[[32,24]]", "1e-3"), ("[[2,384]]", "3e-3"), ("[[2,384]]", "1e-3")]
    expected = [[f"method.kron_factors={shape}", f"optimizer.lr={lr}", "done"] for shape, lr in shapes_of_rows]
    assert [line.split()[:3] for line in lines[heading + 2 : heading + 6]] == expected


def test_failed_jobs_are_rows_and_can_be_repeated(tmp_path: Path) -> None:
    wrong = RunState(
        "batch_size=0 seed=1", "failed", tmp_path, error="batch_size=0: too small", overrides=("batch_size=0",)
    )
    broke = replace(job(tmp_path, "batch_size=8", state="failed", status="failed"), error="loss is nan")
    lines = said([wrong, broke, job(tmp_path, "batch_size=16")])
    assert [line.split()[:2] for line in lines if line.startswith("batch_size") and ": " not in line] == [
        ["batch_size=0", "failed"],
        ["batch_size=8", "failed"],
        ["batch_size=16", "done"],
    ]
    assert "3 runs: 1 done, 2 failed" in lines
    assert "batch_size=0 seed=1: batch_size=0: too small" in lines
    assert any("retry=failed" in line for line in lines)


def test_the_last_line_is_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path)
    jobs = shapes(tmp_path)
    for sweep, command in {
        "factor_shapes": "krona report factor_shapes",
        "table1": "krona report --sweep table1",  # `krona report table1` is Table 1
        "my sweep": "krona report 'my sweep'",
    }.items():
        assert said(jobs, sweep=sweep)[-1] == f"next: {command}"
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path / "others")
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
    assert f"4 of 4 runs, such as {jobs[0].run_id}: note: the warm-up is longer" in lines
    assert f"3 of 4 runs, such as {jobs[0].run_id}: note: a shape is fitted" in lines
    assert f"4 of 4 runs, such as {jobs[0].run_id}: note: the code has changed" in lines
    assert sum("warm-up" in line for line in lines) == 1
    assert f"{jobs[-1].run_id}: note: the warm-up is longer" in said(jobs[-1:])


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
