"""Test that runs with different data or settings are never in the same cell, comparison or study.

An argument with its default value counts as the same setting as an argument that is left out.
"""

import pytest

from krona.report.build import collect
from report.generate import collected, make_result, note_texts, write_all


def on_other_train(method="krona", seed=1, *, name="train", **kwargs):
    result = make_result(method, "reviews", seed, kind="own", **kwargs)
    result.splits[name]["fingerprint"] = "0123456789abcdef"
    return result


def plain(method="krona", seed=0, **kwargs):
    return make_result(method, "reviews", seed, kind="own", **kwargs)


@pytest.mark.parametrize("name", ["train", "dev", "test"])
def test_seeds_of_two_data_sets_are_two_rows_named_by_what_differs(tmp_path, name):
    later = on_other_train(name=name)
    (table,) = collected(tmp_path, [plain(), later]).tables
    assert {row.differs: row.cells["reviews"].seeds for row in table.rows} == {
        f"{name} set=reviews-{name}": [0], f"{name} set=0123456789abcdef": [1],
    }  # fmt: skip


def test_rows_left_out_are_another_data_set(tmp_path):
    some = plain(seed=1)
    some.splits["train"]["skipped_rows"], some.splits["test"]["skipped_rows"] = 3, 1
    (table,) = collected(tmp_path, [plain(), some]).tables
    assert [row.differs for row in table.rows] == ["rows left out=3 of train and 1 of test", "rows left out=none"]


def test_a_setting_that_says_it_stands_for_its_rows(tmp_path):
    few = on_other_train(change={"data.train_rows": 100})
    (table,) = collected(tmp_path, [plain(), few]).tables
    assert [row.differs for row in table.rows] == ["data.train_rows=100", "data.train_rows=all"]


def test_two_methods_on_other_data_are_not_compared_and_it_says_why(tmp_path):
    write_all(tmp_path, [plain("krona"), on_other_train("lora", 0)])
    (table,) = collect(tmp_path).tables
    assert table.pairs.empty
    assert [row.differs.partition("=")[0] for row in table.rows if row.differs] == ["train set"]


def test_texts_with_the_tasks_name_before_them_are_no_other_data(tmp_path):
    full = make_result("full", "rte")
    for name, split in full.splits.items():
        split["fingerprint"] = f"prefixed-{name}"
    write_all(tmp_path, [full, make_result("krona", "rte")])
    (table,) = collect(tmp_path).tables
    assert len(table.pairs) == 1
    assert not any("same data" in note for note in note_texts(table))


@pytest.mark.parametrize(
    ("terms", "records", "expected"),
    [
        (2.0, [{"terms": 2}], {"": [0, 1]}),
        (4.0, [{"terms": 2.0}], {"terms=2": [0], "terms=4": [1]}),
        (2.0, [], {"terms=not set": [0], "terms=2": [1]}),
        (2.0, [{"terms": 1.0}, {"terms": 2.0}], {"terms=1": [0], "terms=2": [1]}),
        (None, [{"scaling": 1.0}, {"scaling": 1.0, "start": "kaiming"}], {"": [0, 1]}),
        (None, [{"start": "pissa"}, {"start": "kaiming"}], {"start=pissa": [0], "start=kaiming": [1]}),
    ],
)
def test_only_a_known_equal_default_joins_a_row(tmp_path, terms, records, expected):
    """The run with seed 1 may set method.terms. ``records`` are the defaults that both runs recorded."""
    change = {"method.terms": terms} if terms else None
    results = [make_result("krona", "rte", 0), make_result("krona", "rte", 1, sweep="other", change=change)]
    for result, record in zip(results, records, strict=False):
        result.provenance["method_defaults"] = record
    write_all(tmp_path, results)
    for filters in ([], ["terms=2"] if terms and "" in expected else []):
        (table,) = collect(tmp_path, filters=filters).tables
        assert {row.differs: row.cells["rte"].seeds for row in table.rows} == expected


@pytest.mark.parametrize("of_seed", [False, True])
def test_a_row_has_all_seeds_of_a_subset(of_seed, tmp_path):
    """The subset is the same for all seeds (subset_seed=0), or each seed has its own (subset_seed=${seed})."""
    results = []
    for seed in (0, 1, 2):
        subset = seed if of_seed else 0
        change = {"data.train_rows": 100, "data.subset_seed": subset}
        result = make_result("lora", "rte", seed, rows=60, change=change)
        result.splits["train"] |= {"rows": 100, "fingerprint": f"subset {subset}"}
        results.append(result)
    runs = collected(tmp_path, results).runs
    assert len({run.variant for run in runs}) == 1
    settings = runs[0].settings
    assert settings["train set"] == ("drawn by seed" if of_seed else "subset 0")
    assert ("data.subset_seed" in settings) == (not of_seed)
