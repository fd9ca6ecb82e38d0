"""Test that runs on different rows are never in the same cell, comparison or study."""

import pytest

from krona.report.build import collect
from krona.report.diff import compare, diff_runs, render
from krona.report.notes import study_sentences
from krona.runs.studies import Study
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
    later.provenance["started"] = "2026-02-01T00:00:00"
    (table,) = collected(tmp_path, [plain(), later]).tables
    assert {row.differs: row.cells["reviews"].seeds for row in table.rows} == {
        f"{name} set=reviews-{name}": [0], f"{name} set=0123456789abcdef": [1],
    }  # fmt: skip
    (note,) = (note for note in note_texts(table) if f"2 variants ({name} set)" in note)
    assert note.endswith(f"The latest run has {name} set=0123456789abcdef.")


def test_rows_left_out_are_another_data_set(tmp_path):
    some = plain(seed=1)
    some.splits["train"]["skipped_rows"], some.splits["test"]["skipped_rows"] = 3, 1
    (table,) = collected(tmp_path, [plain(), some]).tables
    assert [row.differs for row in table.rows] == ["rows left out=3 of train and 1 of test", "rows left out=none"]


def test_a_setting_that_says_it_stands_for_its_rows(tmp_path):
    few = on_other_train(change={"data.train_rows": 100})
    (table,) = collected(tmp_path, [plain(), few]).tables
    assert [row.differs for row in table.rows] == ["data.train_rows=100", "data.train_rows=all"]


def test_a_diff_names_what_differs_of_the_data_and_nothing_else(tmp_path):
    (one,) = write_all(tmp_path / "a", [plain()])
    (two,) = write_all(tmp_path / "b", [on_other_train(seed=0, sweep="again", change={"trainer.threads": 2})])
    found = diff_runs(tmp_path / "a" / one.run_id, tmp_path / "b" / two.run_id)
    assert found.settings == [("train set", "reviews-train", "0123456789abcdef")]
    assert "both runs have the same settings" not in render(found)


def test_a_run_that_never_read_its_data_differs_in_nothing_that_is_not_known(tmp_path):
    done, failed = write_all(tmp_path, [plain(), plain(seed=1, status="failed")])
    found = diff_runs(tmp_path / done.run_id, tmp_path / failed.run_id)
    assert [key for key, _, _ in found.settings] == ["seed"]


def test_two_methods_on_other_data_are_not_compared_and_it_says_why(tmp_path):
    write_all(tmp_path, [plain("krona"), on_other_train("lora", 0)])
    (row,) = compare(tmp_path, "krona", "lora").tasks.itertuples()
    assert (row.p == row.p, row.seeds, row.note) == (False, "", "not the same training: train set differs")
    assert None not in (row.a, row.b)
    (table,) = collect(tmp_path).tables
    assert [row.differs.partition("=")[0] for row in table.rows if row.differs] == ["train set"]


def test_texts_with_the_tasks_name_before_them_are_no_other_data(tmp_path):
    full = make_result("full", "rte")
    for name, split in full.splits.items():
        split["fingerprint"] = f"prefixed-{name}"
    write_all(tmp_path, [full, make_result("krona", "rte")])
    (row,) = compare(tmp_path, "full", "krona").tasks.itertuples()
    assert row.p == row.p
    assert not any("same data" in note for note in note_texts(collect(tmp_path).tables[0]))


def test_a_study_of_two_data_sets_says_so(tmp_path):
    runs = collected(tmp_path, [plain(sweep="a study"), on_other_train(sweep="a study")]).runs
    for name, some, said in (("a study", runs, True), ("a study", runs[:1], False), ("another", runs, False)):
        sentences = " ".join(study_sentences(Study(name, []), some))
        assert ("train set differs" in sentences) == said
