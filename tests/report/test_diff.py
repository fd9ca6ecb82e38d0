"""Test the comparison of two runs and of two methods."""

import pytest
from scipy import stats

from krona.messages import KronaError
from krona.report.build import collect
from krona.report.diff import compare, diff_methods, diff_runs, render
from krona.runs.folder import find_run
from report.generate import grid, make_result, write_all
from runs.made_runs import new_study


@pytest.fixture
def pair(tmp_path):
    results = [make_result("krona", "rte", 0, skill=0.9), make_result("lora", "rte", 0, skill=0.6)]
    return write_all(tmp_path, results)


def test_settings_scores_and_the_paired_test(tmp_path, pair):
    krona, lora = pair
    found = diff_runs(tmp_path / krona.run_id, tmp_path / lora.run_id)
    settings = {key: (a, b) for key, a, b in found.settings}
    assert settings["method.name"] == ("krona", "lora")
    assert settings["method.rank"] == ("not set", "1")
    assert settings["optimizer.lr"] == ("0.002", "0.001")
    assert "batch_size" not in settings
    targets, a = zip(*krona.test["rows"], strict=True)
    _, b = zip(*lora.test["rows"], strict=True)
    only_a = sum(x == t != y for t, x, y in zip(targets, a, b, strict=True))
    only_b = sum(y == t != x for t, x, y in zip(targets, a, b, strict=True))
    exact = stats.binomtest(only_a, only_a + only_b, 0.5).pvalue
    assert found.test.startswith(f"Only A right: {only_a}; only B right: {only_b}. Exact McNemar: p = {exact:.4f}.")
    assert found.p == pytest.approx(exact, abs=0.01)


def test_reports_of_one_task_have_the_same_p_values(tmp_path):
    write_all(tmp_path, grid(["krona", "lora"], ["rte"], range(3)))
    (table,) = collect(tmp_path).tables
    (row,) = compare(tmp_path, "krona", "lora").tasks.itertuples()
    assert row.p in [table.cell(method, "rte").p for method in ("krona", "lora")]
    assert "these runs" not in row.note


def test_one_seed_compares_runs_and_says_so(tmp_path):
    write_all(tmp_path, grid(["krona", "lora"], ["rte"], [0]))
    (row,) = compare(tmp_path, "krona", "lora").tasks.itertuples()
    assert (row.seeds, row.note) == ("1", "With fewer than 3 seeds, p is about these runs and not about the methods.")


def test_the_examples_that_changed_come_with_their_texts(tmp_path, pair):
    krona, lora = pair
    found = diff_runs(tmp_path / krona.run_id, tmp_path / lora.run_id)
    _, a = zip(*krona.test["rows"], strict=True)
    _, b = zip(*lora.test["rows"], strict=True)
    changed = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
    assert {*found.changes.id} == {f"test-{i}" for i in changed}
    counts = found.changes.verdict.value_counts()
    assert f"Only A right: {counts['only A right']}; only B right: {counts['only B right']}." in found.test
    assert list(found.changes.source) == [
        f"sentence: number {id_.removeprefix('test-')} of rte" for id_ in found.changes.id
    ]
    text = render(found, width=90, examples=2)
    assert f"--examples {len(changed)}" in text
    assert "target entailment" in text or "target not_entailment" in text
    assert max(map(len, text.splitlines())) <= 90
    assert len([line for line in render(found).splitlines() if ", A predicts " in line]) == 5


def test_a_tiny_p_is_never_printed_as_zero(tmp_path):
    results = [make_result("krona", "rte", skill=1.3, rows=600), make_result("lora", "rte", skill=0.1, rows=600)]
    write_all(tmp_path, results)
    found = diff_runs(*(tmp_path / result.run_id for result in results))
    assert "Exact McNemar: p < 0.0001." in render(found)
    assert "0.0000" not in render(found)


def test_a_regression_shows_the_change_of_error(tmp_path):
    write_all(tmp_path, grid(["krona", "lora"], ["stsb"], [0]))
    found = compare(tmp_path, "krona-stsb", "lora-stsb")
    assert "McNemar" not in found.test
    sizes = [abs(float(verdict.split()[1])) for verdict in found.changes.verdict]
    assert sizes == sorted(sizes, reverse=True)


def test_what_cant_be_tested_says_why_and_still_shows_the_rest(tmp_path, pair):
    write_all(tmp_path, [make_result("krona", "cola"), make_result("pa", "rte", status="failed")])
    write_all(tmp_path, [make_result("krona", "rte", 5, rows=50)])
    first = find_run(tmp_path, "krona-rte-t5_base-32x24-s0").path
    for other, reason in (
        ("krona-cola", "rte and cola"),
        ("pa-rte", "is failed"),
        ("krona-rte-t5_base-32x24-s5", "120 and 50 examples"),
    ):
        found = diff_runs(first, find_run(tmp_path, other).path)
        assert found.p is None
        assert reason in found.test
        assert "Paired test" in render(found)


def test_without_or_with_damaged_predictions_there_is_no_test(tmp_path, pair):
    krona, lora = (tmp_path / result.run_id for result in pair)
    (lora / "predictions.jsonl").write_text('{"split": "test", "id": "test-0"}\n')
    found = diff_runs(krona, lora)
    assert (found.p, found.changes) == (None, None)
    assert found.test == f"None: {lora / 'predictions.jsonl'} is damaged: 1 row without target."
    (lora / "predictions.jsonl").unlink()
    assert diff_runs(krona, lora).test == f"None: {lora.name} has no test predictions in predictions.jsonl."
    assert "test accuracy" in render(found)


def test_the_beginning_of_several_ids_is_refused(tmp_path):
    write_all(tmp_path, grid(["krona"], ["rte"], [0, 1]))
    with pytest.raises(KronaError, match="2 runs begin with 'krona-rte'"):
        find_run(tmp_path, "krona-rte")


def test_two_methods_by_task_and_what_only_one_side_has(tmp_path):
    results = grid(["krona", "lora"], ["rte", "cola"], range(3), skill=0.8)
    results += [make_result("lora", "qqp", 0, change={"optimizer.lr": rate}) for rate in (1e-3, 1e-2)]
    results += [make_result("krona", task, 0) for task in ("mrpc", "qqp")]
    write_all(tmp_path, results)
    found = compare(tmp_path, "krona", "lora")
    by_task = {row.task: row for row in found.tasks.itertuples()}
    assert (by_task["rte"].seeds, by_task["cola"].seeds) == ("3", "3")
    assert 0 < by_task["rte"].p <= 1
    assert by_task["mrpc"].note == "no run of lora"
    assert by_task["mrpc"].a is not None
    assert by_task["qqp"].note == "lora has 2 variants, so give two runs"
    assert "no run of lora" in render(found)


def test_the_trials_of_a_search_are_not_variants(tmp_path):
    """A method was searched. One trial has the values of the compared runs, and the others are not compared."""
    pytest.importorskip("optuna", reason="pip install -e '.[tune]'")
    new_study(tmp_path, "lora-rte-t5-base")
    lr = {"optimizer.lr": 0.003}
    trial = make_result("lora", "rte", 0, change=lr, sweep="lora-rte-t5-base")
    others = [make_result("lora", "rte", change={"optimizer.lr": lr}, sweep="lora-rte-t5-base") for lr in (0.1, 0.2)]
    runs = [make_result("lora", "rte", seed, change=lr, sweep=None) for seed in (1, 2)]
    write_all(tmp_path, [trial, *others, *runs, *grid(["krona"], ["rte"])])
    row = diff_methods(tmp_path, "krona", "lora").tasks.iloc[0]
    assert (row.note, row.seeds) == ("", "3")
    assert row.b == pytest.approx(sum(run.test["score"] for run in (trial, *runs)) / 3)
    write_all(tmp_path, [make_result("lora", "rte", 0, change={"optimizer.lr": 0.7}, sweep=None)])
    assert diff_methods(tmp_path, "krona", "lora").tasks.iloc[0].note == "lora has 2 variants, so give two runs"


def test_a_method_that_only_one_side_has(tmp_path, pair):
    for method, other in (("krona", "bitfit"), ("lora", "krona-rte")):
        with pytest.raises(KronaError, match=f"'{method}' is a method, and no run .* has the method '{other}'"):
            compare(tmp_path, other, method)


def test_methods_are_compared_over_all_their_seeds(tmp_path):
    krona = [make_result("krona", "rte", seed, skill=skill) for seed, skill in ((0, 0.6), (1, 0.7), (2, 0.95))]
    lora = [make_result("lora", "rte", seed, skill=0.75) for seed in (0, 1)]
    write_all(tmp_path, [*krona, *lora])
    (row,) = compare(tmp_path, "krona", "lora").tasks.itertuples()
    assert row.seeds == "3 and 2"
    assert row.a == pytest.approx(sum(one.test["score"] for one in krona) / 3)
    assert row.b == pytest.approx(sum(one.test["score"] for one in lora) / 2)
    assert 0 < row.p <= 1
    assert row.note == "With fewer than 3 seeds, p is about these runs and not about the methods."
    write_all(tmp_path, [make_result("bitfit", "rte", 0)])
    (row,) = compare(tmp_path, "krona", "bitfit").tasks.itertuples()
    assert (row.p == row.p, row.note) == (False, "one of the methods has one seed")


def fitted(**kwargs):
    """Return the result of a run on nano, which replaced a shape of the paper by its counterpart of rank 144."""
    result = make_result("krona", "sample_mnli", backbone="nano", sweep="table9", rows=40, **kwargs)
    result.provenance |= {"branch_config": {"kron_factors": [[16, 12], [12, 16]]}, "update_rank": 144}
    return result


def test_a_diff_shows_the_used_shape_and_no_shape_where_it_is_the_same(tmp_path):
    asked = fitted()
    typed = fitted(change={"method.kron_factors": [[16, 12]], "method.fit_factors": "exact"})
    other = fitted(change={"method.kron_factors": [[2, 384], [384, 2]]})
    other.provenance["branch_config"] = {"kron_factors": [[2, 96], [96, 2]]}
    write_all(tmp_path, [asked, typed, other])
    assert diff_runs(tmp_path / asked.run_id, tmp_path / typed.run_id).settings == []
    found = diff_runs(tmp_path / asked.run_id, tmp_path / other.run_id)
    assert found.settings == [("method.kron_factors", "16x12", "2x96")]
    assert "384" not in render(found).split("Scores")[0].split("Settings")[1]
