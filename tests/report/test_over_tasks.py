"""Test the summary of a table over its tasks."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from krona.metrics.statistics import SwapTest, swap_test, task_seed
from krona.report import over_tasks
from krona.report.build import build_report
from krona.report.over_tasks import DIFFERENT, EQUIVALENT, compare_within_margin
from report.generate import collected, make_result

TASKS = ("sample_cola", "sample_rte", "sample_mrpc")
THREE = {"lora": 0.9, "krona": 0.7, "bitfit": 0.5}


def summary(
    folder: Path, skills: dict[str, float], tasks: tuple[str, ...] = TASKS, seeds: tuple[int, ...] = (0, 1)
) -> pd.DataFrame | None:
    results = [
        make_result(method, task, seed, skill=skill, backbone="nano")
        for method, skill in skills.items()
        for task in tasks
        for seed in seeds
    ]
    (table,) = collected(folder, results).tables
    return table.over_tasks


def test_ranks_means_and_probabilities_are_below_the_table(tmp_path: Path) -> None:
    found = summary(tmp_path, THREE)
    assert list(found.columns) == ["Method", "Mean rank", "Middle mean", "Best is higher", "CoLA", "RTE", "MRPC"]
    assert list(found["Method"]) == ["LoRA", "KronA", "BitFit"]
    assert list(found["Mean rank"]) == ["1.00", "2.00", "3.00 worse"]
    assert list(found["Best is higher"])[:2] == ["", "1.00 [1.00, 1.00]"]
    assert found["CoLA"][2].endswith("≠")
    assert "p = 0.028" in found.attrs["legend"]  # all three tasks agree on the order of three methods: (1/6)²
    for form in ("terminal", "md", "html"):
        assert "Friedman's test" in build_report(tmp_path, format=form).replace("&#39;", "'").replace("\n", " ")


def test_one_seed_has_no_interval_over_seeds(tmp_path: Path) -> None:
    assert list(summary(tmp_path, THREE, seeds=(0,)).columns) == ["Method", "Mean rank", "CoLA", "RTE", "MRPC"]


def test_the_summary_is_of_the_best_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_tasks, "MAX_ROWS", 3)
    skills = {"krona": 0.5, "bitfit": 0.6, "lora": 0.9, "pa": 0.8, "compacter": 0.7}  # not in the order of the table
    found = summary(tmp_path, skills)
    assert {*found["Method"]} == {"LoRA", "PA", "Compacter"}
    assert "Of 5 rows, the 3 with the highest mean score" in found.attrs["legend"]


def test_the_summary_uses_the_tests_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def count(*args: Any, seed: int, swaps: int) -> SwapTest:
        seeds.append(seed)
        return swap_test(*args, seed=seed, swaps=swaps)

    monkeypatch.setattr("krona.report.cells.swap_test", count)
    summary(tmp_path, THREE)
    # each of the others against LoRA, once on each task; the seed 0 is that of the note on detectable differences
    assert sorted(seed for seed in seeds if seed) == sorted(2 * [task_seed(task) for task in TASKS])


def test_opposite_differences_on_two_tasks_are_not_significant_in_the_mean(tmp_path: Path) -> None:
    skills = {("lora", "sample_rte"): 0.9, ("krona", "sample_rte"): 0.4}
    skills |= {("lora", "sample_mnli"): 0.4, ("krona", "sample_mnli"): 0.9}
    results = [make_result(*names, skill=skill, backbone="nano") for names, skill in skills.items()]
    (table,) = collected(tmp_path, results).tables
    assert sorted(cell.tied for row in table.rows for key, cell in row.cells.items() if key in TASKS) == [False] * 2
    assert any(row.cell("avg").tied for row in table.rows)


@pytest.mark.parametrize(
    ("skills", "tasks"), [({"lora": 0.9, "krona": 0.7}, TASKS), (THREE, TASKS[:2])], ids=["two methods", "two tasks"]
)
def test_few_tasks_or_methods_have_no_summary(tmp_path: Path, skills: dict[str, float], tasks: tuple[str, ...]) -> None:
    assert summary(tmp_path, skills, tasks) is None


def test_the_same_predictions_are_equivalent_and_others_different(tmp_path: Path) -> None:
    results = [make_result(m, "sample_rte", skill=s, backbone="nano") for m, s in (("lora", 0.9), ("krona", 0.5))]
    (table,) = collected(tmp_path, results).tables
    one, two = table.rows
    assert compare_within_margin(table, one, one, "sample_rte") == EQUIVALENT
    assert compare_within_margin(table, one, two, "sample_rte") == DIFFERENT
