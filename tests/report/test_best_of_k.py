"""Test the scores and differences after k trials of tuning in a report."""

from html import unescape
from itertools import combinations, permutations

import numpy as np
import pytest

from krona.report.build import build_report
from report.generate import collected, make_result, write_all

RATES, SEEDS = (3e-4, 1e-3, 3e-3, 1e-2), (1, 2, 3)


def grid(methods=("lora", "krona"), *, key="optimizer.lr", values=RATES, seeds=SEEDS, **kwargs):
    return [
        make_result(method, "rte", seed, rows=60, skill=0.5 + 0.1 * place, sweep=None, change={key: value}, **kwargs)
        for method in methods for place, value in enumerate(values) for seed in seeds
    ]  # fmt: skip


def plain_score(results, method: str, k: int) -> float:
    """Return the mean over subsets of settings, the seed that chooses and another seed, from the stored scores."""
    of_method = {
        (run.config["optimizer"]["lr"], run.seed): (run.dev["score"], run.test["score"])
        for run in results if run.method == method
    }  # fmt: skip
    scores = []
    for rates in combinations(RATES, k):
        for chooser, tester in permutations(SEEDS, 2):
            devs = np.round([of_method[rate, chooser][0] for rate in rates], 6)
            best = [rate for rate, dev in zip(rates, devs, strict=True) if dev == devs.max()]
            scores.append(np.mean([of_method[rate, tester][1] for rate in best]))
    return float(np.mean(scores))


def test_scores_and_differences_equal_plain_means_of_the_stored_scores(tmp_path):
    results = grid()
    (table,) = collected(tmp_path, results, table=None).tables
    (found,) = table.best_of_k
    assert [*found.points.k] == [1, 1, 2, 2, 3, 3, 4, 4]
    for point in found.points.itertuples():
        assert point.score == pytest.approx(plain_score(results, point.method, point.k), abs=1e-9)
        assert point.low < point.score < point.high
    assert [*found.pairs.k] == [1, 3, 4]
    for pair in found.pairs.itertuples():
        assert (pair.row, pair.reference) == ("KronA", "LoRA")
        expected = plain_score(results, "krona", pair.k) - plain_score(results, "lora", pair.k)
        assert pair.difference == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "changed",
    [
        {"seeds": (1, 2)},  # each seed that chooses needs two other seeds
        {"values": RATES[:2]},
        {"key": "data.train_rows", "values": (16, 32, 64)},  # these rows are not tuned
    ],
)
def test_other_sweeps_are_not_a_grid(changed, tmp_path):
    assert all(not table.best_of_k for table in collected(tmp_path, grid(**changed), table=None).tables)


def test_the_page_and_the_terminal_show_the_grid(tmp_path):
    write_all(tmp_path, grid())
    page, text = unescape(build_report(tmp_path, format="html")), build_report(tmp_path)
    assert "RTE: test score after k trials of tuning" in page
    for words in ("After 4 trials of tuning on RTE: KronA − LoRA", "KronA: 4 settings × 3 seeds"):
        assert words in page
        assert words in text
