"""A power checked by simulation: made test sets and answers, and the test that reports use."""

import math
from dataclasses import dataclass

import numpy as np

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats
from krona.metrics.power import LEVEL, Assumed, Errors
from krona.metrics.statistics import swap_test

SWAPS = 1_000
METRICS = {"correlation": ["pearson", "spearman"]}  # of the names in `Errors` those that are no metric's


@dataclass(frozen=True)
class Simulated:
    """The share of made test sets with p ≤ 0.05, and its standard error."""

    power: float
    error: float
    test_sets: int


def simulated_power(
    errors: Errors, difference: float, *, score: float, seeds: int, assumed: Assumed, test_sets: int, seed: int = 0
) -> Simulated:
    """The power of `swap_test` (1,000 swaps) on the task's own metric at a true ``difference`` in points."""
    rng = np.random.default_rng(seed)
    make = _classes if errors.counts else _numbers
    found = 0
    for i in range(test_sets):
        a, b = make(rng, errors, difference, score, seeds, assumed)
        metrics = METRICS.get(errors.metric, [errors.metric])
        found += swap_test(a, b, metrics, swaps=SWAPS, seed=i).p <= LEVEL
    share = found / test_sets
    return Simulated(share, math.sqrt(max(share * (1 - share), 1 / test_sets) / test_sets), test_sets)


def _classes(
    rng: np.random.Generator, errors: Errors, difference: float, score: float, seeds: int, assumed: Assumed
) -> tuple[list[Answers], list[Answers]]:
    """Two methods on two classes. Errors fall equally often on both, as `Errors.points` has it."""
    n = errors.examples
    delta = difference / (errors.points * n)
    d = max(errors.discordant(score, score, assumed), delta)
    wrong = errors.share_wrong(score)
    both_wrong = max(0.0, wrong - d / 2)
    # Outcomes of an example: only a right, only b right, both wrong, both right.
    chances = np.array([(d + delta) / 2, (d - delta) / 2, both_wrong, 0.0])
    chances[3] = 1 - chances.sum()
    truth = np.zeros(n, dtype=int)
    truth[: round(errors.positive * n)] = 1
    lasts = rng.random(n) < assumed.lasting
    steady = _outcomes(rng, chances, truth)
    runs: tuple[list[Answers], list[Answers]] = ([], [])
    for _ in range(seeds):
        outcome = np.where(lasts, steady, _outcomes(rng, chances, truth))
        for side, wrongs in zip(runs, ((1, 2), (0, 2)), strict=True):
            side.append(Answers(truth, np.where(np.isin(outcome, wrongs), 1 - truth, truth), 2))
    return runs


def _outcomes(rng: np.random.Generator, chances: Floats, truth: Floats) -> Floats:
    """(n,): an outcome of each example. The rarer class is wrong more often, so that both have as many errors."""
    drawn = np.empty(len(truth), dtype=int)
    for label in (0, 1):
        rows = truth == label
        own = chances * (0.5 / max(rows.mean(), 1e-9))
        own[3] = 1 - own[:3].sum()
        drawn[rows] = rng.choice(4, size=int(rows.sum()), p=own)
    return drawn


def _numbers(
    rng: np.random.Generator, errors: Errors, difference: float, score: float, seeds: int, assumed: Assumed
) -> tuple[list[Answers], list[Answers]]:
    """Normal targets and predictions that correlate with them by ``score``, and beside that with each other."""
    truth = rng.standard_normal(errors.examples)

    def noise(share: float) -> Floats:
        return np.asarray(math.sqrt(share) * rng.standard_normal(errors.examples))

    common, lasting = noise(1 - assumed.unshared), [noise(assumed.unshared * assumed.lasting) for _ in "ab"]
    runs: tuple[list[Answers], list[Answers]] = ([], [])
    for _ in range(seeds):
        for side, own, r in zip(runs, lasting, ((score + difference) / 100, score / 100), strict=True):
            rest = common + own + noise(assumed.unshared * (1 - assumed.lasting))
            side.append(Answers(truth, r * truth + math.sqrt(1 - r**2) * rest, 0))
    return runs
