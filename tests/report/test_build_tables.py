"""Test the tables of a report: averages, marks of the best value, and missing values."""

import numpy as np
import pytest

from krona.messages import KronaError
from krona.paper import TASKS, read_paper_table
from krona.report.build import collect
from krona.report.layouts import find_layout
from krona.report.text import cell_details
from krona.runs import claim
from report.generate import collected, grid, make_result, note_texts, write_all

SHAPES = ([[2, 384], [384, 2]], [[12, 64], [64, 12]], [[32, 24], [24, 32]])


def test_a_cell_is_the_mean_over_seeds_with_both_intervals(tmp_path):
    results = grid(["krona", "lora"], ["rte"], range(3))
    report = collected(tmp_path, results, table="1")
    cell = report.tables[0].cell("krona", "rte")
    scores = [r.test["score"] for r in results if r.method == "krona"]
    assert cell.value == pytest.approx(np.mean(scores))
    half = 4.302653 * np.std(scores, ddof=1) / np.sqrt(3)
    assert cell.t_interval == pytest.approx((np.mean(scores) - half, np.mean(scores) + half))
    assert cell_details(cell)[0] == f"±{half:.2f}"
    assert "3 seeds" in next(column for column in report.tables[0].columns if column.key == "rte").details
    assert cell.test_interval[0] < cell.value < cell.test_interval[1]
    assert cell.paper == 77.70
    assert cell.difference == pytest.approx(cell.value - 77.70)
    assert cell.seeds == [0, 1, 2]


def test_table_1_whole_has_the_glue_average_and_nothing_missing(tmp_path):
    report = collected(tmp_path, grid(seeds=[0, 1], rows=60), table="1")
    table = report.tables[0]
    assert [row.key for row in table.rows] == list(read_paper_table("1").rows)
    assert [c.label for c in table.columns][-1] == "GLUE avg"
    for row in table.rows:
        parts = [row.cells[task].value for task in TASKS]
        assert row.cells["avg"].value == pytest.approx(np.mean(parts))
        assert not any(cell.missing for cell in row.cells.values())
    assert sum(row.cells["rte"].best for row in table.rows) == 1
    best = max(row.cells["avg"].value for row in table.rows)
    assert [row.cells["avg"].value for row in table.rows if row.cells["avg"].best] == [best]


def test_a_clearly_worse_method_is_told_apart_and_an_equal_one_is_not(tmp_path):
    results = grid(["krona", "lora"], ["rte"], rows=400, skill=0.9) + grid(["bitfit"], ["rte"], rows=400, skill=0.2)
    table = collected(tmp_path, results, table="1").tables[0]
    krona, lora, bitfit = (table.cell(m, "rte") for m in ("krona", "lora", "bitfit"))
    assert krona.best or lora.best
    assert krona.tied or lora.tied
    assert (bitfit.best, bitfit.tied) == (False, False)
    assert bitfit.p < 0.001


def test_glue_sample_own_and_random_weights_never_share_a_table(tmp_path):
    results = [
        make_result("krona", "rte"),
        make_result("krona", "sample_rte", backbone="nano"),
        make_result("krona", "rte", backbone="nano", change={"backbone.pretrained": False}),
        make_result("krona", "reviews", kind="own"),
        make_result("krona", "rte", change={"data.protocol": "appendix_d1"}),
    ]
    report = collected(tmp_path, results, table="1")
    headings = {table.heading: table for table in report.tables}
    assert list(headings) == [
        "GLUE on google-t5/t5-base", "GLUE on google-t5/t5-base, protocol appendix_d1", "GLUE on nano, random weights",
        "Sample data (not GLUE) on nano", "Own data on google-t5/t5-base",
    ]  # fmt: skip
    for heading, table in headings.items():
        tasks = [column.key for column in table.columns if column.kind == "task"]
        assert sum(bool(row.cells[key].runs) for row in table.rows for key in tasks) == 1
        if heading != "GLUE on google-t5/t5-base":
            assert table.warning or table.section.kind == "own"
            assert all(c.difference is None and c.paper is None for row in table.rows for c in row.cells.values())
    assert "GLUE avg" not in [c.label for c in headings["Sample data (not GLUE) on nano"].columns]


def test_variants_get_rows_of_their_own(tmp_path):
    results = [
        make_result("krona", task, seed, sweep="factor_shapes", change={"method.kron_factors": shape})
        for task in ("rte", "cola") for seed in (0, 1) for shape in SHAPES
    ]  # fmt: skip
    report = collected(tmp_path, results, sweep="factor_shapes")
    (table,) = report.tables
    assert [row.differs for row in table.rows] == ["kron_factors=2x384", "kron_factors=12x64", "kron_factors=32x24"]
    assert all(len(row.cells[task].runs) == 2 for row in table.rows for task in ("rte", "cola"))
    assert [row.cells["rank"].value for row in table.rows] == [4, 144, 576]
    assert "Mean of 2 dev" in [column.label for column in table.columns]


def dev_and_test_disagree(rows=300):
    """Return the results of two shapes. One is better on dev, and the other is better on test."""
    for_dev, for_test = (
        make_result(
            "krona", "rte", rows=rows, sweep="factor_shapes", skill=skill, change={"method.kron_factors": shape}
        )
        for skill, shape in ((0.6, SHAPES[0]), (0.95, SHAPES[1]))
    )
    for_dev.dev, for_test.dev = for_test.dev, for_dev.dev
    return for_dev, for_test


def test_among_shapes_dev_chooses_and_test_stands_beside(tmp_path):
    for_dev, for_test = dev_and_test_disagree()
    (table,) = collected(tmp_path, [for_dev, for_test], sweep="factor_shapes").tables
    assert [(c.label, c.kind) for c in table.columns if "RTE" in c.label] == [
        ("RTE dev", "task"),
        ("RTE test", "other_split"),
    ]
    best = {row.differs: row.cells["rte"].best for row in table.rows}
    assert best == {"kron_factors=2x384": True, "kron_factors=12x64": False}
    beside = [row.cells["rte test"] for row in table.rows]
    assert [cell.value for cell in beside] == [for_dev.test["score"], for_test.test["score"]]
    assert not any(cell.best or cell.tied for cell in beside)
    assert [column.examples for column in table.columns if "RTE" in column.label] == [(300,), (300,)]
    assert any(
        note.startswith("Each method has several settings. The best row is chosen by dev scores")
        for note in note_texts(table)
    )
    assert not any("were not scored on test" in note for note in note_texts(table))


def test_among_methods_only_the_setting_that_dev_chooses_can_be_the_best(tmp_path):
    for_dev, for_test = dev_and_test_disagree()
    lora = make_result("lora", "rte", rows=300, sweep="factor_shapes", skill=0.4)
    (table,) = collected(tmp_path, [for_dev, for_test, lora], sweep="factor_shapes").tables
    values = {row.differs or row.key: row.cells["rte"] for row in table.rows}
    assert max(values, key=lambda name: values[name].value) == "kron_factors=12x64"
    assert [name for name, cell in values.items() if cell.best] == ["kron_factors=2x384"]
    assert not values["kron_factors=12x64"].compared  # so the sentence on the leading row does not call it worse
    assert any("only its row with the best dev score is compared" in note for note in note_texts(table))


def test_one_ambiguous_task_does_not_split_the_others(tmp_path):
    results = [make_result("krona", task) for task in ("rte", "cola", "mrpc")]
    results.append(make_result("krona", "rte", change={"optimizer.lr": 0.01}))
    (table,) = collected(tmp_path, results, sweep="table1").tables
    by_label = {row.differs: row for row in table.rows}
    assert set(by_label) == {"", "optimizer.lr=0.002", "optimizer.lr=0.01"}
    assert by_label[""].cells["cola"].value is not None
    lacking = by_label[""].cells["rte"]
    assert (lacking.value, lacking.missing) == (None, "no run")
    assert by_label["optimizer.lr=0.01"].cells["rte"].value is not None


def test_missing_failed_and_running_cells_say_so(tmp_path):
    results = [make_result("krona", "rte"), make_result("lora", "rte", status="failed")]
    results.append(make_result("pa", "rte", status="running"))
    results.append(make_result("bitfit", "rte", status="running"))
    held = claim.claim(tmp_path / results[2].run_id)
    try:
        report = collected(tmp_path, results, table="1")
        states = [run.status for run in report.unfinished]
    finally:
        held.release()
    table = report.tables[0]
    lora, pa, full = (table.cell(m, "rte") for m in ("lora", "pa", "full"))
    assert lora.missing == "failed"
    assert pa.missing == "running, epoch 2 of 6"
    assert full.missing == "no run"
    assert sorted(states) == ["failed", "interrupted", "running"], "nobody works on bitfit"
    assert table.cell("bitfit", "rte").missing == "interrupted"
    assert table.cell("krona", "avg").missing.startswith("without CoLA, MRPC")


def test_a_failed_run_that_knew_no_fingerprints_is_no_variant(tmp_path):
    failed = make_result("krona", "rte", 1, status="failed")
    failed.provenance.pop("backbone_fingerprint")
    table = collected(tmp_path, [make_result("krona", "rte", 0), failed], table="1").tables[0]
    assert len(table.cell("krona", "rte").runs) == 1
    assert table.cell("krona", "rte").missing is None


def test_a_mean_over_tasks_with_different_seeds_has_no_interval_over_seeds(tmp_path):
    both = grid(["lora"], ["rte", "cola"], range(3), rows=60)
    results = [*both, *grid(["krona"], ["rte"], range(3), rows=60), *grid(["krona"], ["cola"], range(2), rows=60)]
    table = collected(tmp_path, results, sweep="table1").tables[0]
    unequal, equal = table.cell("krona", "avg"), table.cell("lora", "avg")
    low, high = equal.t_interval
    assert low < equal.value < high
    assert [*equal.by_seed] == [0, 1, 2]
    assert unequal.value == pytest.approx((table.cell("krona", "rte").value + table.cell("krona", "cola").value) / 2)
    assert (unequal.t_interval, cell_details(unequal)[:-1]) == (None, [])


def test_shapes_are_named_as_they_were_used_with_the_papers_beside(tmp_path):
    results = [make_result("krona", "sample_mnli", 1, sweep="table9", backbone="nano")]
    results.append(make_result("krona", "sample_mnli", 1, sweep="table9", backbone="nano",
                               change={"method.kron_factors": SHAPES[0]}))  # fmt: skip
    for result, used in zip(results, ([[16, 12], [12, 16]], [[2, 96], [96, 2]]), strict=True):
        result.provenance |= {"branch_config": {"kron_factors": used}, "update_rank": used[0][0] * used[1][0]}
    failed = make_result("krona", "sample_mnli", 0, sweep="table9", backbone="nano", status="failed")
    assert failed.provenance["update_rank"] == 576, "of the requested shape, as the used shape was not known"
    rows = {row.key: row for row in collected(tmp_path, [failed, *results], table="9").tables[0].rows}
    assert (rows["32x24"].label, rows["32x24"].differs) == ("16x12", "the paper's 32x24")
    assert rows["32x24"].cells["rank"].value == 16 * 12
    assert (rows["48x16"].label, rows["48x16"].differs) == ("48x16", ""), "it has not run: what was used is not known"
    (table,) = collect(tmp_path).tables
    assert [row.differs for row in table.rows] == [
        "kron_factors=2x96 (the paper's 2x384)", "kron_factors=16x12 (the paper's 32x24)",
    ]  # fmt: skip


def test_dev_scores_where_test_was_not_looked_at(tmp_path):
    results = [make_result("krona", "rte", 0, sweep="rates", change={"optimizer.lr": lr}) for lr in (1e-3, 1e-2)]
    for result in results:
        result.config["score_test"], result.test = False, None
    (table,) = collected(tmp_path, results, sweep="rates").tables
    assert table.rows[0].cells["rte"].value in [r.dev["score"] for r in results]
    assert "The scores are dev scores, because these runs were not scored on test." in note_texts(table)


def test_a_metric_replaces_the_scores_the_intervals_and_the_tests(tmp_path):
    write_all(tmp_path, grid(["krona", "lora"], ["rte", "mrpc"], range(3)))
    metric, usual = collect(tmp_path, metric="f1").tables[0], collect(tmp_path).tables[0]
    assert [(column.key, column.metric) for column in metric.task_columns] == [("mrpc", "F1")]
    cell = metric.cell("lora", "mrpc")
    assert cell.value == pytest.approx(np.mean([run.result.test["parts"]["f1"] for run in cell.runs]))
    assert cell.test_interval[0] < cell.value < cell.test_interval[1]
    accuracy = collect(tmp_path, metric="accuracy").tables[0]
    assert [column.metric for column in accuracy.task_columns] == ["acc", "acc"]
    differences = [
        {pair.column: pair.difference for pair in table.pairs.itertuples()} for table in (usual, metric, accuracy)
    ]
    assert differences[0]["mrpc"] == differences[1]["mrpc"] != differences[2]["mrpc"]
    with pytest.raises(KronaError, match="no run has this metric: did you mean 'accuracy'"):
        collect(tmp_path, metric="acuracy")
    with pytest.raises(KronaError, match="cannot be used with --table 1"):
        collect(tmp_path, table="1", metric="accuracy")


def test_rows_of_the_layouts_are_the_papers():
    for number in ("1", "2", "4", "5", "6", "7", "8", "9"):
        layout = find_layout(number, None)
        assert set(layout.rows) == set(read_paper_table(number).rows), number


def test_training_time_is_a_ratio_to_full_by_step(tmp_path):
    results = grid(["full", "krona"], ["rte", "cola"], [0])
    for result in results:
        result.times["train"] = 100.0 if result.method == "full" else 75.0
    results[2].dev_curve = results[2].dev_curve[:3]  # krona on rte stopped early, at half the steps
    results[2].times["train"] = 37.5
    report = collected(tmp_path, results, table="8", sweep="table1")
    assert report.tables[0].cell("krona", "rte").value == pytest.approx(0.75)
    assert report.tables[0].cell("krona", "avg").difference == pytest.approx(0.0)
    assert any("0.73625" in note for note in note_texts(report.tables[0]))
    table2 = collect(tmp_path, table="2", sweep="table1").tables[0]
    assert table2.cell("krona", "training_time").value == pytest.approx(75)


def test_a_method_with_one_seed_is_not_tested_against_one_with_several(tmp_path):
    results = [make_result("krona", "rte", seed, skill=0.9) for seed in (0, 1)]
    results.append(make_result("lora", "rte", 1, skill=0.5))
    table = collected(tmp_path, results, table="1").tables[0]
    assert table.cell("lora", "rte").p is None
    assert any(note.startswith("1 cell could not be tested") for note in note_texts(table))
    assert any("Cells with one seed are not tested against cells with several." in note for note in note_texts(table))


def test_runs_of_several_versions_or_devices_have_one_note(tmp_path):
    runs = grid(["krona", "lora"], ["rte"], (0, 1))
    for run, torch, devices, code in zip(runs, ("2.9", "2.13", "2.13", "2.13"), (1, 1, 2, 2), "xyyy", strict=True):
        run.provenance |= {"versions": {"torch": torch, "numpy": str(run.seed)}, "devices": devices}
        run.provenance["method_code"] = f"{run.method} {code}"
    runs[0].provenance["scoring_precision"] = "bf16-mixed"  # the others were scored in fp32, and have no record
    (table,) = collected(tmp_path, runs).tables
    assert [note for note in note_texts(table) if "differ in" in note] == [
        "The runs differ in torch (2.13 or 2.9), devices (1 or 2), scoring_precision (32-true or bf16-mixed) and the "
        "code of KronA (krona x or krona y)."
    ]
    for run in runs:
        run.provenance |= {"versions": {"torch": "2.13"}, "devices": 1, "method_code": run.method}
        run.provenance.pop("scoring_precision", None)
    (table,) = collected(tmp_path, runs).tables
    assert not [note for note in note_texts(table) if "differ in" in note]


def test_a_table_of_hyper_parameters_is_one_row_of_table_1(tmp_path):
    report = collected(tmp_path, [make_result("krona", "rte")], table="16", run_ids=[])
    assert report.empty.command == "krona table 16"
    report = collected(tmp_path / "one", done := [make_result("krona", "rte")], table="16", run_ids=[done[0].run_id])
    assert [row.key for row in report.tables[0].rows] == ["krona"]


def test_a_report_without_finished_runs_names_a_command_only_if_it_is_known(tmp_path):
    report = collected(tmp_path / "own", [make_result("lora", sweep="mine", status="failed")], sweep="mine")
    assert report.empty.text.endswith("belongs to this table. Repeat the command that started the runs.")
    assert not report.empty.command
    shipped = [make_result("lora", sweep="factor_shapes", status="failed")]
    report = collected(tmp_path / "shipped", shipped, sweep="factor_shapes")
    assert report.empty.command.endswith(" -m sweeps=factor_shapes")
