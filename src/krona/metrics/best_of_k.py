"""Estimate what a user gets who tunes a method with k trials and then trains it.

The user draws k settings of a grid, runs each with one seed, chooses the setting with the best dev score, and trains it
again with another seed. `best_of_k` estimates the expected test score of this last run. Dodge et al. (2019, "Show Your
Work: Improved Reporting of Experimental Results", equation 8) estimate the expected dev score of the best trial in the
same way. That score is too high for the chosen setting, because the same run is chosen and reported.

The estimate is the mean over all ordered pairs of different seeds: the first seed chooses, and the second seed tests.
It is exact over the subsets of k settings, so nothing is drawn. Settings with equal dev scores are equally often
chosen.

The variance of a difference between two methods has three parts, so its interval contains the search:

- **seeds**: the jackknife over the seeds of each method (Efron and Stein 1981). Both roles of a seed are left out.
- **test rows** (or groups of rows): the variance of the rows' contributions, which both methods share. The first part
  also contains variance that comes from single rows. This share is estimated and subtracted.
- **dev rows** (or groups): a bootstrap, which repeats all choices on each bootstrapped dev set.

The settings are those of the grid. The interval says nothing about settings outside of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from krona.metrics.compare_methods import MAX_DF, Difference
from krona.metrics.scores.metric import Floats

DEV_DRAWS = 1_000  # the number of bootstrapped dev sets
DECIMALS = 6  # scores that are equal after this rounding are equal: sums over rows have rounding errors


@dataclass(frozen=True)
class Grid:
    """The runs of one method with S settings and R seeds. Each setting was run with each seed.

    Args:
        dev: the contribution of each dev row to the dev score of each run in points
            (`krona.metrics.compare_methods.row_contributions`), (S, R, dev rows).
        test: the same for test, (S, R, test rows).
    """

    dev: Floats
    test: Floats

    @property
    def settings(self) -> int:
        return int(self.test.shape[0])

    @property
    def seeds(self) -> int:
        return int(self.test.shape[1])


def choice_shares(scores: Floats, k: int) -> Floats:
    """Return how often each setting is the best of k, over all subsets of k settings, (..., S).

    Args:
        scores: the dev score of each setting, (..., S). Settings with equal scores are chosen equally often.
        k: the number of settings in a subset, from 1 to S.
    """
    settings, scores = scores.shape[-1], np.round(scores, DECIMALS)
    # The share of the subsets that contain one of the i best settings, for i = 0 to S.
    reached = np.array([1 - math.comb(settings - i, k) / math.comb(settings, k) for i in range(settings + 1)])
    better = (scores[..., None, :] > scores[..., None]).sum(-1)
    equal = (scores[..., None, :] == scores[..., None]).sum(-1)
    return np.asarray((reached[better + equal] - reached[better]) / equal)


def best_of_k(grids: Sequence[Grid], k: int) -> list[Difference]:
    """Return the expected test score of the best of k settings of each method, as its difference from 0."""
    return [_estimate(grid, None, k) for grid in grids]


def compare_best_of_k(grids: Sequence[Grid], k: int) -> dict[tuple[int, int], Difference]:
    """Return the difference of the expected test scores of each pair of methods, by positions (i, j) with i < j.

    All grids have the same dev rows and the same test rows, in the same order.
    """
    return {(i, j): _estimate(grids[i], grids[j], k) for i, j in combinations(range(len(grids)), 2)}


def _estimate(grid: Grid, other: Grid | None, k: int) -> Difference:
    sides = [grid] if other is None else [grid, other]
    rows = [_row_contributions(side, k) for side in sides]  # for each side: all seeds, then without each seed
    signs = (1.0, -1.0)
    change = sum(sign * side[0] for sign, side in zip(signs, rows, strict=False))
    assert isinstance(change, np.ndarray)
    spreads = [_jackknife(side[1:]) for side in rows]
    of_rows = len(change) * float(change.var(ddof=1))
    draws = [_bootstrap_dev(side, k) for side in sides]
    of_dev = float(np.var(sum(sign * side for sign, side in zip(signs, draws, strict=False)), ddof=1))
    variance = of_rows + of_dev + sum(max(0.0, total - noise) for total, noise in spreads)
    # Satterthwaite's degrees of freedom, for which the variances over rows are known exactly.
    uncertainty = sum(total**2 / (side.seeds - 1) for (total, _), side in zip(spreads, sides, strict=True))
    return Difference(
        float(change.sum()),
        math.sqrt(variance),
        max(1.0, min(variance**2 / uncertainty, MAX_DF)) if uncertainty else MAX_DF,
        seeds=(sides[0].seeds, sides[-1].seeds),
        rows=len(change),
    )


def _row_contributions(grid: Grid, k: int) -> Floats:
    """Return the contribution of each test row to the estimate: with all seeds, then without each seed, (R + 1, N)."""
    shares = choice_shares(grid.dev.sum(-1).T, k)  # (R that choose, S)
    weights = [_pair_weights(shares, np.ones(grid.seeds, bool))]
    weights += [_pair_weights(shares, np.arange(grid.seeds) != left_out) for left_out in range(grid.seeds)]
    return np.asarray(np.tensordot(np.array(weights), grid.test, axes=2))


def _pair_weights(shares: Floats, used: np.ndarray) -> Floats:
    """Return the weight of each run in the mean over all ordered pairs of different seeds that are used, (S, R)."""
    chosen = shares * used[:, None]
    pairs = used.sum() * (used.sum() - 1)
    return np.asarray((chosen.sum(0) - chosen).T * used / pairs)


def _jackknife(without: Floats) -> tuple[float, float]:
    """Return the variance of the estimate over the seeds, and the part of it that comes from single rows.

    Args:
        without: the rows' contributions without each seed, (R, N).
    """
    scale = (len(without) - 1) ** 2 / len(without)
    return scale * float(without.sum(1).var(ddof=1)), scale * float(without.var(0, ddof=1).sum())


def _bootstrap_dev(grid: Grid, k: int) -> Floats:
    """Return the estimate with the choices on each bootstrapped dev set, (DEV_DRAWS,). All grids get the same draws."""
    rows = grid.dev.shape[-1]
    counts = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=DEV_DRAWS)
    shares = choice_shares(np.einsum("dn,srn->drs", counts, grid.dev, optimize=True), k)
    test, seeds = grid.test.sum(-1), grid.seeds
    every, same = shares.sum(1) @ test, np.einsum("drs,sr->dr", shares, test)
    return np.asarray((every.sum(-1) - same.sum(-1)) / (seeds * (seeds - 1)))
