"""Test the expected test score of the best of k settings, and its variance, against plain loops."""

from itertools import combinations

import numpy as np
import pytest

from krona.metrics.best_of_k import DEV_DRAWS, Grid, best_of_k, choice_shares, compare_best_of_k


def grid(seed: int, *, settings: int = 5, seeds: int = 4, rows: int = 40) -> Grid:
    rng = np.random.default_rng(seed)
    skill = rng.uniform(0.5, 0.9, settings)[:, None, None]
    dev, test = (100 / n * (rng.random((settings, seeds, n)) < skill) for n in (20, rows))
    return Grid(dev, test)


def plain_score(grid: Grid, k: int, used: list[int]) -> float:
    """Return the mean over subsets of k settings, seeds that choose and other seeds that test, with shared ties."""
    dev, test, scores = np.round(grid.dev.sum(-1), 6), grid.test.sum(-1), []
    for subset in combinations(range(grid.settings), k):
        for chooser in used:
            best = [s for s in subset if dev[s, chooser] == max(dev[list(subset), chooser])]
            scores += [np.mean([test[s, tester] for s in best]) for tester in used if tester != chooser]
    return float(np.mean(scores))


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_estimate_is_the_mean_over_subsets_and_pairs_of_seeds(k: int) -> None:
    one, other = grid(0), grid(1)
    expected = [plain_score(side, k, [0, 1, 2, 3]) for side in (one, other)]
    assert [estimate.value for estimate in best_of_k([one, other], k)] == pytest.approx(expected, abs=1e-9)
    assert compare_best_of_k([one, other], k)[0, 1].value == pytest.approx(expected[0] - expected[1], abs=1e-9)


def test_the_variance_is_that_of_seeds_test_rows_and_dev_rows() -> None:
    one, k, seeds = grid(2, rows=400), 3, [0, 1, 2, 3]
    without = [plain_score(one, k, [seed for seed in seeds if seed != left_out]) for left_out in seeds]
    by_row = np.array(
        [
            [
                plain_score(Grid(one.dev, one.test[..., [row]]), k, [s for s in seeds if s != left_out])
                for row in range(400)
            ]
            for left_out in (None, *seeds)
        ]
    )
    of_seeds = 9 / 4 * (np.var(without, ddof=1) - by_row[1:].var(0, ddof=1).sum())
    rng, draws = np.random.default_rng(7), []
    for _ in range(DEV_DRAWS):
        drawn = rng.integers(0, 20, 20)
        draws.append(plain_score(Grid(one.dev[..., drawn], one.test), k, seeds))
    expected = max(0.0, of_seeds) + 400 * by_row[0].var(ddof=1) + np.var(draws, ddof=1)
    # The bootstrap has other draws: a variance from 1,000 of them has a standard error of about 5 %.
    assert best_of_k([one], k)[0].error ** 2 == pytest.approx(expected, rel=0.1)


def test_shares_of_equal_scores_and_of_one_trial() -> None:
    scores = np.array([1.0, 3.0, 3.0, 2.0])
    assert choice_shares(scores, 1) == pytest.approx([0.25] * 4)
    assert choice_shares(scores, 4) == pytest.approx([0, 0.5, 0.5, 0])
    assert choice_shares(scores, 2) == pytest.approx([0, 2.5 / 6, 2.5 / 6, 1 / 6])
