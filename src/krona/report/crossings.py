"""Where two methods' scores cross as training rows grow, with a bootstrap interval."""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats
from krona.metrics.scores import METRICS, sums_of
from krona.metrics.statistics import interval_of
from krona.paper import task_label
from krona.report.curves import ROWS, Curves, Point, curves_of
from krona.report.table import Report

DRAWS = 400
MOST_EXAMPLES = 5_000  # of a test set: more are not resampled


def add(report: Report) -> None:
    """Put the sentences below the table of their section."""
    for curves in curves_of(report.runs):
        table = next((one for one in report.tables if one.section and one.heading == curves.heading), None)
        if table is not None:
            table.notes += [f"{task_label(curves.task)}: {line}" for line in sentences(curves)]


def sentences(curves: Curves) -> list[str]:
    """A sentence for each two methods that cross; one that says so where none do. Nothing for other settings."""
    if curves.setting != ROWS or len(curves.lines) < 2:
        return []
    found = []
    for a, b in combinations(curves.lines, 2):
        line_a, line_b = _common(curves.lines[a], curves.lines[b])
        xs = [point.x for point in line_a]
        gaps = np.array([[p.score - q.score for p, q in zip(line_a, line_b, strict=True)]])
        (where,) = crossings(xs, gaps)
        if math.isnan(where):
            continue
        above = a if gaps[0][-1] > 0 else b
        found.append(f"{a} and {b} cross at about {where:,.0f} training rows{_interval(curves, line_a, line_b, xs)}; "
                     f"beyond, {above} is higher.")  # fmt: skip
    return found or ["No two methods cross between the fewest and the most training rows."]


def crossings(xs: Sequence[float], gaps: Floats) -> Floats:
    """(draws, points) differences of two scores to (draws,): the last change of sign, NaN where there is none.

    Between two points the difference is linear in the logarithm of the rows.
    """
    found = np.full(len(gaps), np.nan)
    for i, (low, high) in enumerate(pairwise(map(math.log, xs))):
        left, right = gaps[:, i], gaps[:, i + 1]
        turns = (left * right < 0) | ((left != 0) & (right == 0) & (i == len(xs) - 2))
        share = left[turns] / (left[turns] - right[turns])
        found[turns] = np.exp(low + share * (high - low))
    return found


def _interval(curves: Curves, a: Sequence[Point], b: Sequence[Point], xs: Sequence[float]) -> str:
    """The 95 % interval where test examples and seeds are drawn anew, for both methods and all sizes alike."""
    drawn = _gaps(curves, a, b)
    if drawn is None:
        return ""
    known = (where := crossings(xs, drawn))[~np.isnan(where)]
    if len(known) < DRAWS / 2:
        return f" (no interval: {100 * len(known) / DRAWS:.0f} % of bootstrap draws cross)"
    low, high = interval_of(known)
    return f" (95 %: {low:,.0f} to {high:,.0f}; {100 * len(known) / DRAWS:.0f} % of bootstrap draws cross)"


def _gaps(curves: Curves, a: Sequence[Point], b: Sequence[Point]) -> Floats | None:
    """(draws, points); None without predictions on one test set by the same seeds."""
    runs = [run for point in (*a, *b) for run in point.runs]
    if any(curves.split not in run.packed for run in runs):
        return None
    first = runs[0].packed[curves.split]
    seeds = set.intersection(*({run.result.seed for run in point.runs} for point in (*a, *b)))
    same = all(np.array_equal(run.packed[curves.split].truth, first.truth) for run in runs)
    if not seeds or not same or len(first) > MOST_EXAMPLES:
        return None
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(first), np.full(len(first), 1 / len(first)), size=DRAWS).astype(float)
    times = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=DRAWS) / len(seeds)  # (draws, seeds)

    def mean(point: Point) -> Floats:
        of = {run.result.seed: run for run in point.runs}
        drawn = [_scores(of[s].packed[curves.split], of[s].metrics, weights) for s in sorted(seeds)]
        return np.asarray((np.stack(drawn, axis=1) * times).sum(1))

    return np.stack([mean(p) - mean(q) for p, q in zip(a, b, strict=True)], axis=1)


def _scores(run: Answers, metrics: Sequence[str], weights: Floats) -> Floats:
    """(draws,): the score on the test sets that ``weights`` (draws, n) draws."""
    parts = []
    for name in metrics:
        of_draws = METRICS[name].of_draws
        if of_draws is not None:
            parts.append(of_draws(run, weights))
        else:
            (sums,) = sums_of(name, [run])
            parts.append(sums.value(weights @ sums.features))
    return np.asarray(np.mean(parts, axis=0))


def _common(a: Sequence[Point], b: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    both = {point.x for point in a} & {point.x for point in b}
    one, two = ([point for point in line if point.x in both] for line in (a, b))
    return one, two
