"""Test the list of run ids of a sweep. It includes runs that another sweep has already finished."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hydra import compose
from typer.testing import CliRunner

from krona.cli.krona import app
from krona.config.compose import hydra_session
from krona.report.build import build_report, collect
from krona.runs import sweep
from krona.runs.folder import RunState
from krona.runs.result import write_result
from krona.sweeps import multirun, plan
from krona.sweeps.multirun import SweepSummary
from report.generate import make_result
from runs.made_runs import tree


@pytest.fixture(autouse=True)
def _restore_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(multirun.TOTAL, "")  # the callback sets it


def begin(outputs: Path, *overrides: str) -> SweepSummary:
    """Start a multirun as Hydra does."""
    single = [item for item in overrides if "," not in item and "(" not in item]
    with hydra_session():
        config = compose("config", overrides=single, return_hydra_config=True)
        config.hydra.sweep.dir = str(outputs)
        config.hydra.overrides.task = list(overrides)
        started = SweepSummary()
        started.on_multirun_start(config)
        return started


def test_ids_are_added(tmp_path: Path) -> None:
    assert sweep.load_run_ids(tmp_path, "ranks") == set()
    sweep.save_run_ids(tmp_path, "long", ["a" * 150])
    assert sweep.load_run_ids(tmp_path, "long") == {"a" * 150}
    sweep.save_run_ids(tmp_path, "ranks", ["b", "a"])
    (tmp_path / "b").mkdir()
    sweep.save_run_ids(tmp_path, "ranks", ["c", "a"])
    assert sweep.load_run_ids(tmp_path, "ranks") == {"a", "b", "c"}
    sweep.save_run_ids(tmp_path, "ranks", ["d"])
    assert sweep.load_run_ids(tmp_path, "ranks") == {"b", "d"}  # the other runs do not exist
    assert sweep.load_run_ids(tmp_path, "seeds") == set()


def test_a_command_for_some_runs_of_a_sweep_keeps_its_list_and_its_command(tmp_path: Path) -> None:
    typed = ["profile=demo", "sweep=ranks", "method=krona,lora", "task=sample_rte", "seed=0,1"]
    begin(tmp_path, *typed)
    files = tree(tmp_path)
    begin(tmp_path, "profile=demo", "sweep=ranks", "method=krona", "task=sample_rte", "seed=0")
    assert tree(tmp_path) == files
    assert len(sweep.load_run_ids(tmp_path, "ranks")) == 4
    begin(tmp_path, "profile=demo", "sweep=ranks", "method=pa", "task=sample_rte")
    assert len(sweep.load_run_ids(tmp_path, "ranks")) == 1  # another command replaces runs that were not started


def test_a_table_plans_each_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that trains plans the runs, and gives their ids to the report of the command."""
    planned: list[tuple[str, ...]] = []

    def plan_run(job: tuple[str, ...], *others: Any) -> RunState:
        planned.append(job)
        return original(job, *others)

    def train(command: Sequence[str], env: Mapping[str, str]) -> Mock:
        monkeypatch.setenv(plan.RUN_IDS, env[plan.RUN_IDS])
        begin(tmp_path, *command[command.index("-m") + 1 :])
        return Mock(wait=lambda: 0)

    original = plan.find_state
    monkeypatch.setattr(plan, "find_state", plan_run)
    monkeypatch.setattr("subprocess.Popen", train)
    monkeypatch.setattr("krona.paths.OUTPUTS", tmp_path)
    report = Mock()
    monkeypatch.setattr("krona.report.build.build_report", report)
    result = CliRunner().invoke(app, ["table", "1", "profile=demo", "method=krona,lora", "task=sample_rte", "seed=0"])
    assert result.exit_code == 0, result.output
    assert len(planned) == 2
    assert report.call_args.kwargs["run_ids"] == sweep.load_run_ids(tmp_path, "table1")
    assert len(report.call_args.kwargs["run_ids"]) == 2


def test_a_report_counts_the_runs_that_wait_and_those_of_other_sweeps(tmp_path: Path) -> None:
    first, *others = plan.list_states(["profile=demo", "method=krona,lora", "task=sample_rte"], outputs=tmp_path)
    made = make_result("krona", "sample_rte", sweep="table1")
    made.run_id = first.run_id
    write_result(tmp_path / first.run_id, made)
    begin(tmp_path, "profile=demo", "sweep=ranks", "method=krona,lora,nosuch", "task=sample_rte")
    assert sweep.load_run_ids(tmp_path, "ranks") == {first.run_id, *(run.run_id for run in others)}
    for form in ("terminal", "html"):
        assert "2 runs: 1 done, 1 waiting" in build_report(tmp_path, sweep="ranks", format=form)
    assert collect(tmp_path, sweep="ranks", filters=["method=krona"]).counts == "1 run: 1 done"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=glob(zzz*)"], "has no values, so the sweep has no runs"),
        (["seed=0,1", "sweep=../mine"], "is not a valid name"),
    ],
)
def test_a_refused_sweep_leaves_nothing(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        begin(tmp_path / "outputs", "profile=demo", *overrides)
    assert list(tmp_path.iterdir()) == []
