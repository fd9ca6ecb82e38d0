"""Test the tables below a table: the summary over its tasks, and the differences of all pairs."""

from pathlib import Path

import pandas as pd
import pytest

from krona.messages import KronaError
from krona.metrics.power import POWER
from krona.report import over_tasks, pairs
from krona.report.build import build_report, collect
from report.generate import collected, grid, make_result, write_all

TASKS = ("sample_cola", "sample_rte", "sample_mrpc")
TASKS_SHOWN = ["CoLA sample", "RTE sample", "MRPC sample"]
THREE = {"lora": 0.9, "krona": 0.7, "bitfit": 0.5}


def summary(
    folder: Path, skills: dict[str, float], tasks: tuple[str, ...] = TASKS, seeds: tuple[int, ...] = (0, 1)
) -> pd.DataFrame | None:
    for method, skill in skills.items():
        write_all(folder, grid([method], tasks, seeds, skill=skill, backbone="nano"))
    (table,) = collect(folder).tables
    return table.over_tasks


def test_ranks_means_and_probabilities_are_below_the_table(tmp_path: Path) -> None:
    found = summary(tmp_path, THREE, seeds=(0, 1, 2, 3, 4))
    assert list(found.columns) == ["Method", "Mean rank", "Middle mean", "Above LoRA", *TASKS_SHOWN]
    assert list(found["Method"]) == ["LoRA", "KronA", "BitFit"]
    assert list(found["Mean rank"]) == ["1.00", "2.00", "3.00 worse"]
    assert list(found["Above LoRA"]) == ["", "0.00", "0.00"]
    assert found["CoLA sample"][2].endswith("≠")
    assert "p = 0.028" in found.attrs["legend"]  # all three tasks agree on the order of three methods: (1/6)²
    for form in ("terminal", "md", "html"):
        assert "Friedman's test" in build_report(tmp_path, format=form).replace("&#39;", "'").replace("\n", " ")


def test_one_seed_has_no_mean_over_seeds_and_is_about_the_runs(tmp_path: Path) -> None:
    found = summary(tmp_path, THREE, seeds=(0,))
    assert list(found.columns) == ["Method", "Mean rank", *TASKS_SHOWN]
    assert "about these runs and not about the methods" in found.attrs["legend"]


def test_the_reference_is_the_given_method_or_lora_or_the_first_row(tmp_path: Path) -> None:
    found = summary(tmp_path, {"krona": 0.9, "lora": 0.7, "bitfit": 0.5})
    assert [bool(cell) for cell in found.sort_values("Method")["CoLA sample"]] == [True, True, False]
    found = collect(tmp_path, baseline="bitfit").tables[0].over_tasks
    assert "Above BitFit" in found
    (table,) = collect(tmp_path, filters=["method=krona,bitfit,lora"], baseline="krona").tables
    assert "Above KronA" in table.over_tasks
    message = r"--baseline lorra: the report has no row of this name: did you mean 'LoRA'\? .*KronA"
    with pytest.raises(KronaError, match=message):
        collect(tmp_path, baseline="lorra")
    others = summary(tmp_path / "others", {"krona": 0.9, "pa": 0.7, "bitfit": 0.5})
    assert [name for name in others if name.startswith("Above")] == ["Above BitFit"]


def test_equal_mean_ranks_are_called_ties(tmp_path: Path) -> None:
    results = grid(THREE, TASKS, (0, 1), backbone="nano")
    for one in results:
        one.test = {**one.test, "score": 50.0}
    (table,) = collected(tmp_path, results).tables
    assert list(table.over_tasks["Mean rank"]) == ["2.00 tie"] * 3


def test_the_summary_is_of_the_best_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_tasks, "MAX_ROWS", 3)
    skills = {"krona": 0.5, "bitfit": 0.6, "lora": 0.9, "pa": 0.8, "compacter": 0.7}  # not in the order of the table
    found = summary(tmp_path, skills)
    assert {*found["Method"]} == {"LoRA", "PA", "Compacter"}
    assert "Of 5 rows, the 3 with the highest mean score" in found.attrs["legend"]


def test_the_signs_agree_with_the_marks_of_the_table(tmp_path: Path) -> None:
    """LoRA is the best on every task, so a row is ≠ where its cell has no ~."""
    results = [make_result(m, task, seed, skill=s, backbone="nano", rows=400)
               for m, s in (("lora", 0.9), ("bitfit", 0.6)) for task in TASKS for seed in range(4)]  # fmt: skip
    for task in TASKS:
        for seed in range(4):
            same = make_result("krona", task, seed, backbone="nano")
            like = next(one for one in results if (one.method, one.task, one.seed) == ("lora", task, seed))
            same.test, same.dev = like.test, like.dev
            results.append(same)
    (table,) = collected(tmp_path, results).tables
    found = table.over_tasks.set_index("Method")
    assert [cell[-1] for cell in found.loc["BitFit"][TASKS_SHOWN]] == ["≠"] * 3
    assert not any(cell.endswith("≠") for cell in found.loc["KronA"][TASKS_SHOWN])
    assert not any(table.cell("bitfit", task).tied for task in TASKS)


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


def test_all_pairs_of_a_table_with_the_numbers_of_its_tests(tmp_path: Path) -> None:
    table = collected(tmp_path, grid(["lora", "krona", "bitfit"], ["rte"])).tables[0]
    frame = table.pairs
    assert frame is not None
    assert len(frame) == 3
    assert [*frame["p"]] == sorted(frame["p"])
    for (a, b, task), one in table.differences.items():
        names = (a.name, b.name) if one.value >= 0 else (b.name, a.name)
        (line,) = frame[frame["Pair"] == " − ".join(names)].to_dict("records")
        assert line["Difference"] == f"+{abs(one.value):.2f}"
        low, high = (float(end) for end in line["Interval"].replace("−", "-").split("…"))
        assert (low + high) / 2 == pytest.approx(abs(one.value), abs=0.01)
        assert float(line["p (Holm)"]) == pytest.approx(table.p_values[a, b, task], abs=5e-4)
        assert float(line["Detectable"]) == pytest.approx(one.detectable(POWER), abs=5e-3)
    assert "over rows and seeds" in frame.attrs["legend"]


def test_no_list_of_too_many_pairs_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MAX_PAIRS", 2)
    assert collected(tmp_path / "a", grid(["lora", "krona", "bitfit"], ["rte"])).tables[0].pairs is None
    assert collected(tmp_path / "b", grid(["lora"], ["rte"])).tables[0].pairs is None


def test_with_one_seed_the_pairs_are_about_the_runs(tmp_path: Path) -> None:
    frame = collected(tmp_path, grid(["lora", "krona"], ["rte", "cola"], [0])).tables[0].pairs
    assert frame is not None
    assert [*frame["Pair"].str.rpartition(", ")[2].sort_values()] == ["CoLA", "RTE"]
    assert "With fewer than 3 seeds, the interval is about these runs" in frame.attrs["legend"]
