"""Test the expected time of runs, which is the median of similar finished runs."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from krona.cli.krona import app
from krona.runs.result import Result
from krona.sweeps.estimate import RunTimes
from report.generate import make_result, write_all

ONE = ["table", "1", "task=rte,cola", "method=lora,full", "--dry-run"]


def finished(method: str, task: str, seconds: Sequence[float], backbone: str = "google-t5/t5-base") -> list[Result]:
    found = []
    for seed, total in enumerate(seconds):
        result = make_result(method, task, seed)
        result.config["backbone"] = {"name": backbone}
        result.times["total"] = total
        found.append(result)
    return found


def config(method: str, task: str, backbone: str = "b") -> dict[str, object]:
    return {"method": {"name": method}, "task": {"name": task}, "backbone": {"name": backbone}}


def test_the_finest_group_that_has_a_finished_run_gives_its_median() -> None:
    results = finished("lora", "rte", [10.0, 20.0, 90.0], "b") + finished("pa", "rte", [60.0], "b")
    results += finished("lora", "cola", [5.0], "b") + finished("lora", "rte", [7000.0], "other")
    failed = make_result("lora", "rte", 9, status="failed")
    times = RunTimes([*results, failed])
    assert times.estimate(config("lora", "rte")) == 20.0
    assert times.estimate(config("full", "rte")) == 40.0
    assert times.estimate(config("full", "qnli")) == 20.0
    assert times.estimate(config("lora", "rte", "unknown")) is None


def test_a_dry_run_has_the_expected_time_of_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.paths.OUTPUTS", tmp_path)
    assert CliRunner().invoke(app, ONE, catch_exceptions=False).output.endswith("4 runs: 4 waiting\n")
    write_all(tmp_path, finished("lora", "rte", [100.0, 300.0]))
    text = CliRunner().invoke(app, ONE, catch_exceptions=False).output
    assert text.endswith("4 runs: 4 waiting; about 13 min left in one process\n")
