"""Test the expected time of runs, which is the median of similar finished runs."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from krona.cli.krona import app
from krona.messages import KronaError
from krona.runs.result import Result
from krona.sweeps.estimate import RunTimes, expected_runs
from krona.sweeps.plan import Planned, plan
from report.generate import make_result, write_all

ONE = ["table", "1", "task=rte,cola", "method=lora,full", "--dry-run", "--plan"]


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
    basis = "the median of {} finished runs with the same {}"
    assert times.estimate(config("lora", "rte")) == (20.0, basis.format(3, "method, task and backbone"))
    assert times.estimate(config("full", "rte")) == (40.0, basis.format(4, "task and backbone"))
    assert times.estimate(config("full", "qnli")) == (20.0, basis.format(5, "backbone"))
    assert times.estimate(config("lora", "rte", "unknown"))[0] is None


def test_a_plan_says_what_each_time_is_based_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.paths.OUTPUTS", tmp_path)
    nothing = CliRunner().invoke(app, ONE, catch_exceptions=False).output
    assert "4 runs: their time is unknown" in nothing
    assert "- 4 runs: no finished run has the backbone google-t5/t5-base" in nothing
    write_all(tmp_path, finished("lora", "rte", [100.0, 300.0]))
    text = CliRunner().invoke(app, ONE, catch_exceptions=False).output
    assert [line.split() for line in text.splitlines()[2:4]] == [
        ["rte", "2", "3", "min", "7", "min"],
        ["cola", "2", "3", "min", "7", "min"],
    ]
    assert "4 runs: about 13 min in one process" in text
    for basis in ("1 run: the median of 2 finished runs with the same method, task and backbone",
                  "1 run: the median of 2 finished runs with the same task and backbone",
                  "2 runs: the median of 2 finished runs with the same backbone"):  # fmt: skip
        assert f"- {basis}" in text
    values = json.loads(CliRunner().invoke(app, [*ONE, "--json"], catch_exceptions=False).output)
    assert (values["done"], values["seconds"], len(values["runs"])) == (0, 800.0, 4)
    assert {run["seconds"] for run in values["runs"]} == {200.0}


def test_a_done_run_is_not_counted_again(tmp_path: Path) -> None:
    (run,) = plan(["profile=demo", "method=lora"], outputs=tmp_path)
    done = Planned(run.overrides, run.run_id, "done", config=run.config)
    assert [one.method for one in expected_runs([run, done], RunTimes([]))] == ["lora"]


def test_a_run_that_cannot_be_composed_is_an_error() -> None:
    with pytest.raises(KronaError, match="batch_size=0: too small"):
        expected_runs([Planned(("batch_size=0",), "x", "wrong", error="too small")], RunTimes([]))


@pytest.mark.parametrize("options", [["--plan"], ["--json"], ["--dry-run", "--json"]])
def test_options_that_need_another_one(options: list[str]) -> None:
    with pytest.raises(KronaError, match="--plan needs --dry-run, and --json needs --plan"):
        CliRunner().invoke(app, ["table", "1", *options], catch_exceptions=False)
