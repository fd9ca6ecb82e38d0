"""Test that only rows with equal training are compared, and that a table has only the runs of its plan."""

import random

import pytest

from krona.report import FORMATS
from krona.report.build import build_report, collect
from krona.report.sentences import summarize
from krona.report.text import cell_mark
from krona.runs import sweep as sweep_runs
from report.generate import collected, make_result, set_answers, write_all

CHANGES = [
    {"trainer.max_steps": 40}, {"trainer.max_epochs": 3}, {"batch_size": 8}, {"data.train_rows": 50},
    {"optimizer.warmup_steps": 7}, {"trainer.precision": "bf16-mixed"}, {"data.seed": 7}, {"init_from": "other"},
]  # fmt: skip


def three(change):
    """Return runs of two methods with equal training, and of a better third method with another training."""
    runs = [make_result(method, "rte", rows=200, skill=0.5) for method in ("lora", "krona")]
    return [*runs, make_result("pa", "rte", rows=200, skill=0.95, change=change)]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_a_row_with_other_training_is_shown_and_compared_with_nothing(tmp_path, change):
    report = collected(tmp_path, three(change))
    (table,) = report.tables
    (other,) = (row for row in table.rows if row.key == "pa")
    ((key, value),) = change.items()
    assert other.differs == f"{key}={value}"
    assert cell_mark(other.cell("rte")) == ""
    assert sorted(cell_mark(table.cell(method, "rte")) for method in ("lora", "krona")) in (["*", "~"], ["", "*"])
    (sentence,) = summarize(report)
    assert "PA" not in sentence
    for form in {*FORMATS} - {"latex"}:  # LaTeX has short names of rows
        assert f"{value}" in build_report(tmp_path, format=form), form
    assert other.name not in {*table.pairs["row"], *table.pairs["reference"]}


@pytest.mark.parametrize("change", [{"optimizer.lr": 0.5}, {"method.scaling": 3.0}, {"trainer.threads": 9}])
def test_hyper_parameters_of_the_method_and_the_learning_rate_may_differ(tmp_path, change):
    (sentence,) = summarize(collected(tmp_path, three(change)))
    assert sentence.startswith("PA ")
    assert sentence.endswith("Fewer than 3 seeds cannot show which method is better.")


def test_rows_that_differ_in_the_pooling_are_compared_where_the_user_asks_for_both(tmp_path):
    def runs(sweep, varied):
        for pooling, skill in (("mean", 0.5), ("pooler", 0.95)):
            change = {"backbone.pooling": pooling}
            result = make_result("lora", "rte", rows=200, skill=skill, sweep=sweep, change=change)
            result.row["settings"] = {"backbone.pooling": pooling} if varied else {}
            yield result

    write_all(tmp_path, [*runs("apart", False)])
    assert collect(tmp_path).tables[0].pairs.empty
    asked = collect(tmp_path, filters=["backbone.pooling=mean,pooler"]).tables[0]
    assert [row.cell("rte").best for row in asked.rows] == [False, True]
    write_all(tmp_path / "sweep", [*runs("both", True)])
    assert [row.cell("rte").best for row in collect(tmp_path / "sweep").tables[0].rows] == [False, True]


def test_an_untrained_model_is_compared_whatever_its_length(tmp_path):
    untuned = make_result("untuned", "rte", rows=200, skill=0.3, epochs=0, change={"optimizer.lr": 0.0})
    (table,) = collected(tmp_path, [*three({})[:2], untuned]).tables
    assert table.cell("untuned", "rte").p is not None


def test_a_table_has_only_the_runs_of_its_plan(tmp_path):
    mine, other, earlier = (make_result(m, "rte", sweep=s) for m, s in
                            (("lora", "table1"), ("krona", "another"), ("pa", None)))  # fmt: skip
    write_all(tmp_path, [mine, other, earlier])
    sweep_runs.save_run_ids(tmp_path, "table1", [mine.run_id, earlier.run_id])
    report = collect(tmp_path, table="1")
    assert {run.method for run in report.runs} == {"lora", "pa"}
    assert {run.method for run in collect(tmp_path, table="1", sweep="another").runs} == {"krona"}
    assert {run.method for run in collect(tmp_path, table="1", run_ids={mine.run_id}).runs} == {"lora"}


def answer(method, given, *, share=1.0):
    """Return a run that gives this answer on a share of the rows, and otherwise the target."""
    result, rng = make_result(method, "rte", rows=200), random.Random(0)
    for split in ("dev", "test"):
        targets = [target for target, _ in getattr(result, split)["rows"]]
        set_answers(result, targets, [given if rng.random() < share else target for target in targets], split)
    return result


def test_a_row_of_invalid_predictions_failed_and_is_not_significantly_worse(tmp_path):
    report = collected(tmp_path, [answer("lora", "1", share=0.2), answer("krona", "yes", share=0.5)])
    (sentence,) = summarize(report)
    assert sentence == "No row leads on RTE (n = 200): LoRA 90.00 has the highest score."
    assert report.tables[0].cell("krona", "rte").p is None


def test_the_headline_names_a_leading_row_of_constant_predictions(tmp_path):
    (sentence,) = summarize(collected(tmp_path, [answer("lora", "1"), answer("krona", "yes", share=0.9)]))
    assert sentence.startswith("No row leads on RTE (n = 200): LoRA 51.00! has the highest score.")
