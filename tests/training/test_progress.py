"""Test the output of a run: plain lines in a pipe and on a dumb terminal, and notes on the warm-up."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from krona.config import check
from krona.config.settings import Optimizer
from krona.training import progress
from krona.training.progress import Progress, format_estimate
from krona.training.schedule import StepCounts, count_warmup_steps, schedule_notes
from one_job import config, run
from report.generate import make_result


def notes(steps: int, *overrides: str) -> str:
    settings = check.settings(config("profile=demo", *overrides))
    warmup = count_warmup_steps(settings.optimizer, steps)
    return " ".join(schedule_notes(settings, StepCounts(epoch=25, warmup=warmup, total=steps)))


def test_a_note_names_the_rate_that_a_long_warm_up_reaches() -> None:
    said = notes(400, "optimizer.warmup_steps=500", "optimizer.lr=1e-3")
    assert "warm-up of 500 steps of the paper takes 125 % of training (400 steps)" in said
    assert "lr rises to 0.000798, not to 0.001" in said  # 399 / 500, the value of the last step
    assert "warm-up of 1 step takes 100 % of training (1 step)" in notes(1, "optimizer.warmup_steps=1")
    assert "warm-up" not in notes(1, "optimizer.warmup_steps=0.06")
    assert "takes 50 % of training (1,000 steps)" in notes(1000, "optimizer.warmup_steps=500")
    assert notes(4000, "optimizer.warmup_steps=500") == ""


@pytest.mark.parametrize(
    ("given", "total", "steps"), [(0.06, 2675, 161), (0.0, 10, 0), (0.5, 3, 2), (500, 10, 500), (1, 9, 1)]
)
def test_warm_up_steps(given: float, total: int, steps: int) -> None:
    optimizer = Optimizer(target="torch.optim.AdamW", lr=1e-3, warmup_steps=given)
    assert count_warmup_steps(optimizer, total) == steps


@pytest.mark.parametrize("shown", [True, False])
def test_the_first_lines_have_the_warm_up_and_only_the_first_run_of_a_sweep_prints_notes(
    shown: bool, tmp_path: Path
) -> None:
    console, result = Console(file=io.StringIO(), width=300), make_result()
    result.notes = ["the rows are few"]
    with (tmp_path / "train.log").open("w+") as log:
        steps = StepCounts(epoch=25, warmup=6, total=100)
        Progress(console, log, shows_notes=shown).begin(check.settings(config("profile=demo")), result, steps=steps)
    printed = console.file.getvalue()
    assert "lr 0.01 after 6 steps of warm-up" in printed
    assert ("note: the rows are few" in printed) == shown
    assert "note: the rows are few" in (tmp_path / "train.log").read_text()


def test_a_run_prints_its_time_after_the_first_steps(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert format_estimate(720, 1) == "about 12 min for this run"
    assert format_estimate(220, 33) == "about 4 min for this run, 2.0 h for all 33 runs"
    assert format_estimate(2, 10) == ""
    monkeypatch.setattr(progress, "ESTIMATE_S", 0)
    monkeypatch.setattr(progress, "MIN_ESTIMATE_S", 0)
    assert run(values, tmp_path)[1].count(" s for this run\n") == 1


def test_a_dumb_terminal_gets_plain_lines_of_the_epochs_that_max_steps_allows(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    short = {**values, "trainer": {**values["trainer"], "max_epochs": 20, "max_steps": 5}}
    _, printed = run(short, tmp_path, width=80, force_terminal=True)
    assert "\x1b" not in printed
    for epoch in (1, 2):  # of three steps
        assert f"  epoch  {epoch}/2  loss " in printed
