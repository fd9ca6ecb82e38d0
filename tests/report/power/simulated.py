"""Simulate test sets and predictions, to check the power of the project's significance test."""

import numpy as np

from krona.metrics.answers import Answers
from krona.metrics.power import LEVEL
from krona.metrics.statistics import swap_test

SWAPS = 1_000


def simulated_power(errors, difference, *, score, seeds, assumed, test_sets):
    """Return the share of simulated test sets with p ≤ 0.05, for a true ``difference`` of the scores in points."""
    rng = np.random.default_rng(0)
    found = 0
    for i in range(test_sets):
        a, b = _classes(rng, errors, difference, score, seeds, assumed)
        found += swap_test(a, b, [errors.metric], swaps=SWAPS, seed=i).p <= LEVEL
    return found / test_sets


def _classes(rng, errors, difference, score, seeds, assumed):
    """Return predictions of two methods for two classes.

    Both classes have as many errors, as `Errors.points` assumes.
    """
    n = errors.examples
    delta = difference / (errors.points * n)
    d = max(errors.discordant(score, score, assumed), delta)
    both_wrong = max(0.0, errors.share_wrong(score) - d / 2)
    # Outcomes of an example: only a right, only b right, both wrong, both right.
    chances = np.array([(d + delta) / 2, (d - delta) / 2, both_wrong, 0.0])
    truth = (np.arange(n) < round(errors.positive * n)).astype(int)
    lasts = rng.random(n) < assumed.lasting
    steady = _outcomes(rng, chances, truth)
    runs = ([], [])
    for _ in range(seeds):
        outcome = np.where(lasts, steady, _outcomes(rng, chances, truth))
        for side, wrongs in zip(runs, ((1, 2), (0, 2)), strict=True):
            side.append(Answers(truth, np.where(np.isin(outcome, wrongs), 1 - truth, truth), 2))
    return runs


def _outcomes(rng, chances, truth):
    """Return an outcome for each example.

    The rarer class has a higher error rate, so that both classes have as many errors.
    """
    drawn = np.empty(len(truth), dtype=int)
    for label in (0, 1):
        rows = truth == label
        own = chances * (0.5 / max(rows.mean(), 1e-9))
        own[3] = 1 - own[:3].sum()
        drawn[rows] = rng.choice(4, size=int(rows.sum()), p=own)
    return drawn
