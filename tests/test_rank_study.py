"""The correlations of docs/claims.md with the rank of an update, compared with SciPy and with a full enumeration."""

from itertools import permutations

import numpy as np
import pytest
from rank_study import permutation_test
from scipy import stats

SCORES = np.array([3.0, 1.0, 4.0, 1.5, 5.0, 9.0])
RANKS = np.array([1.0, 2.0, 4.0, 9.0, 16.0, 64.0])


def test_one_group_gives_spearman() -> None:
    correlation, p = permutation_test(RANKS, SCORES, np.zeros(6, dtype=int))
    expected = stats.permutation_test(
        (RANKS,), lambda x: stats.spearmanr(x, SCORES).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert correlation == pytest.approx(stats.spearmanr(RANKS, SCORES).statistic)
    assert p == pytest.approx(expected.pvalue, abs=0.01)


def test_groups_are_compared_within_themselves() -> None:
    """The mean of a group does not count, and values are exchanged only within their group."""
    groups = np.array([0, 0, 0, 1, 1, 1])
    correlation, p = permutation_test(RANKS, SCORES, groups)
    score = stats.rankdata(SCORES).reshape(2, 3)
    score -= score.mean(axis=1, keepdims=True)
    found = []
    for first in permutations((1.0, 2.0, 3.0)):
        for second in permutations((4.0, 5.0, 6.0)):
            value = np.array([first, second]) - [[2], [5]]
            found.append((value * score).sum() / np.sqrt((value**2).sum() * (score**2).sum()))
    assert correlation == pytest.approx(found[0])
    assert p == pytest.approx(np.mean(np.abs(found) >= abs(found[0]) - 1e-9), abs=0.01)


def test_a_covariate_explains_the_correlation() -> None:
    """Scores that are a function of the norm alone have no correlation with the rank at a given norm."""
    random = np.random.default_rng(0)
    norms = random.permutation(30).astype(float)
    ranks = norms + random.normal(scale=8, size=30)
    group = np.zeros(30, dtype=int)
    alone, p_alone = permutation_test(ranks, norms + random.normal(scale=3, size=30), group)
    given, p_given = permutation_test(ranks, norms + random.normal(scale=3, size=30), group, covariate=norms)
    assert alone > 0.5
    assert p_alone < 0.01
    assert abs(given) < 0.4
    assert p_given > 0.05
