"""Test the family of tests with a reference row: its correction, its marks, its frame and its sentences."""

import pytest

from krona.formatting import NOTHING
from krona.metrics.statistics import holm
from krona.report.build import build_report
from krona.report.pairs import format_pairs
from krona.report.sentences import legend, summarize
from krona.report.table import PAIRS
from krona.report.text import cell_mark
from report.generate import collected, grid, make_result, set_answers, set_wrong, with_score

SKILLS = {"lora": 0.7, "krona": 0.72, "bitfit": 0.45, "pa": 0.95}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    results = [one for name, skill in SKILLS.items() for one in grid([name], ["rte"], skill=skill, rows=400)]
    return collected(folder, results).tables[0]


def test_holm_covers_the_pairs_with_the_reference_and_the_marks_agree(table):
    frame = table.reference_pairs.set_index("row")
    assert [*frame.columns] == [*(name for name in PAIRS if name != "row"), "label"]
    assert {*frame["reference"]} == {"LoRA"}
    assert {*frame.index} == {"KronA", "BitFit", "PA"}
    assert [*frame["p_reference"]] == pytest.approx(holm([*frame["p"]]))
    assert (frame["low"] < frame["difference"]).all()
    assert {*frame["seeds"]} == {(3, 3)}
    assert (frame["rows"] == 400).all()
    lora = table.cell("lora", "rte").value
    for row in table.rows:
        if row.label == "LoRA":
            continue
        one = frame.loc[row.name]
        assert one["difference"] == pytest.approx(row.cells["rte"].value - lora)
        sign = "" if one["p_reference"] > 0.05 else "↑" if one["difference"] > 0 else "↓"
        assert cell_mark(row.cells["rte"]).strip("*~!") == sign
    assert {cell_mark(row.cells["rte"]).strip("*~!") for row in table.rows} == {"", "↑", "↓"}


def test_the_first_sentence_and_a_table_name_the_reference(tmp_path):
    results = [one for name, skill in SKILLS.items() for one in grid([name], ["rte"], skill=skill, rows=400)]
    report = collected(tmp_path, results, baseline="KronA")
    (sentence,) = summarize(report)
    assert "Compared with KronA, PA is significantly better and BitFit is significantly worse." in sentence
    shown = format_pairs(report.tables[0].reference_pairs, family="p_reference")
    assert shown.attrs["title"] == "Differences to KronA"
    assert "the pairs with a reference row" in shown.attrs["legend"]
    text = " ".join(build_report(tmp_path, format="latex", baseline="KronA").split())
    assert r"\uparrow" in text
    assert "↑ or ↓: significantly better or worse than KronA" in " ".join(
        build_report(tmp_path, baseline="KronA").split()
    )


def test_the_name_of_a_row_makes_this_row_the_reference(tmp_path):
    results = [make_result("lora", "rte", seed, rows=200, change={"optimizer.lr": rate}, skill=0.7)
               for seed in range(3) for rate in (1e-3, 2e-3)]  # fmt: skip
    results += grid(["krona"], ["rte"], rows=200)
    names = [row.name for row in collected(tmp_path, results).tables[0].rows if row.label == "LoRA"]
    assert len(names) == 2
    for name in names:
        report = collected(tmp_path, [], baseline=name)
        table = report.tables[0]
        assert table.references["rte"].name == name
        assert {*table.reference_pairs["row"]} == {row.name for row in table.rows} - {name}, "all rows"
    assert len(collected(tmp_path, [], baseline="lora").tables[0].reference_pairs) == 1, "the best row on dev"


def test_the_legend_names_the_reference_row_and_the_test(tmp_path):
    results = [make_result("lora", "rte", seed, rows=400, change={"optimizer.lr": rate}, skill=0.7)
               for seed in range(3) for rate in (1e-3, 2e-3)]  # fmt: skip
    (table,) = collected(tmp_path, [*results, *grid(["pa"], ["rte"], skill=0.95, rows=400)]).tables
    best = table.references["rte"].settings["optimizer.lr"]
    assert legend([table]).endswith(
        f"; ↑ or ↓: significantly better or worse than LoRA (lr={best}) (Holm over these pairs); "
        "significance: Student's t-test over examples and seeds (5 % level)."
    )


def test_with_two_seeds_no_method_is_shown_to_be_better(tmp_path):
    results = [one for name in ("lora", "pa") for one in grid([name], ["rte"], [0, 1], skill=SKILLS[name], rows=3000)]
    for place in (1, 3):  # the same scores with both seeds, so that only the variance over rows is left
        results[place].test, results[place].dev = results[place - 1].test, results[place - 1].dev
    (sentence,) = summarize(collected(tmp_path, results))
    assert sentence.startswith("PA ")
    assert sentence.endswith("Fewer than 3 seeds cannot show which method is better.")


def test_two_tied_rows_with_invalid_predictions_are_treated_alike(tmp_path):
    results = [make_result(name, "rte", rows=60) for name in ("lora", "krona")]
    for result in results:
        set_wrong(result, 8)
    report = collected(tmp_path, results)
    cells = [row.cells["rte"] for row in report.tables[0].rows]
    assert [cell_mark(cell) for cell in cells] == ["*!", "*!"]
    (sentence,) = summarize(report)
    assert " failed: " not in sentence


def test_rows_without_a_test_are_not_called_not_significantly_different(tmp_path):
    scores = {"lora": 85.9, "krona": 85.9, "pa": 70.0}
    results = [with_score(make_result(name, "rte", rows=60), score) for name, score in scores.items()]
    (sentence,) = summarize(collected(tmp_path, results))
    assert sentence == ("No row leads on RTE: LoRA 85.90 and KronA 85.90 have the highest score.")


def test_equal_predictions_have_no_estimable_difference(tmp_path):
    results = {name: make_result(name, "rte", rows=50) for name in ("lora", "krona", "bitfit")}
    for split in ("dev", "test"):
        set_answers(results["krona"], *map(list, zip(*getattr(results["lora"], split)["rows"], strict=True)), split)
    (table,) = collected(tmp_path, results.values()).tables
    for pairs in (table.reference_pairs, table.pairs):
        frame = format_pairs(pairs)
        lines = {one["Pair"]: one for one in frame.to_dict("records")}
        (equal,) = (one for pair, one in lines.items() if "BitFit" not in pair)
        assert (equal["Interval"], equal["Detectable"], equal["p"]) == ("not estimable", NOTHING, "1.000")
        assert sum(one["Interval"] == "not estimable" for one in lines.values()) == 1
        assert frame.attrs["legend"].endswith("Not estimable: every example contributes equally to both scores.")
    shown = build_report(tmp_path).splitlines()
    assert [line.split()[3:] for line in shown if line.startswith("KronA − LoRA")] == [
        ["+0.00", "not", "estimable", "1.000", "1.000", NOTHING, "1"]
    ]
    assert "KronA − LoRA: +0.0 (not estimable), p (Holm) 1" in build_report(tmp_path, format="html")
