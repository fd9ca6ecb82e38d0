"""The summary of a table over its tasks."""

import re
from pathlib import Path
from typing import Any

import pytest

from krona.metrics.statistics import SwapTest, swap_test, task_seed
from krona.report import over_tasks
from krona.report.build import build_report
from krona.report.over_tasks import DIFFERENT, EQUIVALENT, compare_within_margin, task_summary
from report.generate import collected, make_result

TASKS = ("sample_cola", "sample_rte", "sample_mrpc")


def summary(
    folder: Path, skills: dict[str, float], tasks: tuple[str, ...] = TASKS, seeds: tuple[int, ...] = (0, 1)
) -> list[str]:
    results = [
        make_result(method, task, seed, skill=skill, backbone="nano")
        for method, skill in skills.items()
        for task in tasks
        for seed in seeds
    ]
    (table,) = collected(folder, results).tables
    return task_summary(table)


def test_one_seed_has_no_interval_over_seeds(tmp_path: Path) -> None:
    ranks, *pairs = summary(tmp_path, {"lora": 0.9, "krona": 0.7, "bitfit": 0.5}, seeds=(0,))
    assert ranks.startswith("Mean rank over 3 tasks")
    assert [pair.split()[0] for pair in pairs] == ["KronA", "BitFit"]


def test_ranks_means_and_probabilities_are_below_the_table(tmp_path: Path) -> None:
    ranks, means, higher, *pairs = summary(tmp_path, {"lora": 0.9, "krona": 0.7, "bitfit": 0.5})
    assert "3 tasks" in ranks
    assert ranks.index("LoRA 1.00") < ranks.index("KronA 2.00") < ranks.index("BitFit 3.00")
    assert ranks.endswith("5 % level): BitFit.")
    assert "p = 0.028" in ranks  # all three tasks agree on the order of three methods: (1/6)²
    assert means.index("LoRA") < means.index("KronA") < means.index("BitFit")
    assert "KronA 1.00 [1.00, 1.00]" in higher
    assert [pair.split()[0] for pair in pairs] == ["KronA", "BitFit"]
    assert "too narrow for two seeds" in means
    assert re.search(r"significantly different on CoLA \(-\d+\.\d\d\), RTE \(-", pairs[1])
    text = " ".join(build_report(tmp_path).split())
    assert " ".join(ranks.split()) in text


def test_the_summary_is_of_the_best_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_tasks, "MOST_ROWS", 3)
    skills = {"krona": 0.5, "bitfit": 0.6, "lora": 0.9, "pa": 0.8, "compacter": 0.7}  # not in the order of the table
    left_out, ranks, *_ = summary(tmp_path, skills)
    assert left_out.startswith("Of 5 rows, the 3 with the highest mean score")
    assert [name in ranks for name in ("LoRA", "PA", "Compacter", "BitFit", "KronA")] == [True] * 3 + [False] * 2


def test_the_summary_uses_the_tests_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def count(*args: Any, seed: int) -> SwapTest:
        seeds.append(seed)
        return swap_test(*args, seed=seed)

    monkeypatch.setattr("krona.report.table.swap_test", count)
    summary(tmp_path, {"lora": 0.9, "krona": 0.7, "bitfit": 0.5})
    # each of the others against LoRA, once on each task
    assert sorted(seeds) == sorted(2 * [task_seed(task) for task in TASKS])


def test_opposite_differences_on_two_tasks_are_not_significant_in_the_mean(tmp_path: Path) -> None:
    skills = {("lora", "sample_rte"): 0.9, ("krona", "sample_rte"): 0.4}
    skills |= {("lora", "sample_mnli"): 0.4, ("krona", "sample_mnli"): 0.9}
    results = [make_result(*names, skill=skill, backbone="nano") for names, skill in skills.items()]
    (table,) = collected(tmp_path, results).tables
    assert sorted(cell.tied for row in table.rows for key, cell in row.cells.items() if key in TASKS) == [False] * 2
    assert any(row.cell("avg").tied for row in table.rows)


@pytest.mark.parametrize(
    ("skills", "tasks"),
    [({"lora": 0.9, "krona": 0.7}, TASKS), ({"lora": 0.9, "krona": 0.7, "bitfit": 0.5}, TASKS[:2])],
    ids=["two methods", "two tasks"],
)
def test_few_tasks_or_methods_have_no_summary(tmp_path: Path, skills: dict[str, float], tasks: tuple[str, ...]) -> None:
    assert summary(tmp_path, skills, tasks) == []


def test_the_same_predictions_are_equivalent_and_others_different(tmp_path: Path) -> None:
    results = [make_result(m, "sample_rte", skill=s, backbone="nano") for m, s in (("lora", 0.9), ("krona", 0.5))]
    (table,) = collected(tmp_path, results).tables
    one, two = (row.cell("sample_rte") for row in table.rows)
    assert compare_within_margin(one, one) == EQUIVALENT
    assert compare_within_margin(one, two) == DIFFERENT
