"""Curves of the score against the learning rate or the number of training rows, and the expected best of k trials."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from krona.metrics.statistics import Interval
from krona.paper import method_label, method_order, task_label, task_order
from krona.report.stored_runs import StoredRun
from krona.report.table import seed_interval
from krona.report.wording import SEEDS

RATE, ROWS = "optimizer.lr", "data.train_rows"
FEWEST = 3  # a curve needs this number of values of the setting
# The settings that may differ between the runs of a curve.
VARYING = {RATE: (RATE,), ROWS: (ROWS, "data.subset_seed", "train set", "rows left out")}
NAMES = {RATE: "learning rate", ROWS: "training rows"}


@dataclass(frozen=True)
class CurvePoint:
    """A point of a curve: the runs of all seeds with one value of the setting, and their mean scores."""

    x: float  # the value of the setting
    runs: tuple[StoredRun, ...]
    score: float
    interval: Interval | None  # over seeds (`krona.report.table.seed_interval`)
    test: float | None = None  # the mean test score, if all runs have one


@dataclass(frozen=True)
class Curves:
    """The curves of all methods on one task of one section. Learning rates are chosen by the dev score."""

    setting: str
    heading: str
    task: str
    split: str
    lines: dict[str, list[CurvePoint]] = field(default_factory=dict)  # by the method's label

    @property
    def title(self) -> str:
        return f"{task_label(self.task)} {self.split} by {NAMES[self.setting]}: {self.heading}"

    def explain_bars(self) -> str:
        """Return a sentence that explains the bars of the points. It is empty if there are no bars."""
        bars = any(point.interval for points in self.lines.values() for point in points)
        return f"Bars: over seeds ({SEEDS})." if bars else ""


def find_curves(runs: Sequence[StoredRun]) -> list[Curves]:
    """Return the curves of methods whose finished runs differ only in the setting and have three values of it."""
    places: dict[tuple[str, str], list[StoredRun]] = defaultdict(list)
    for run in runs:
        places[run.section.heading, run.result.task].append(run)
    found = []
    for heading, task in sorted(places, key=lambda place: (place[0], task_order(place[1]))):
        here = places[heading, task]
        for setting in (RATE, ROWS):
            scored = setting == ROWS and all(run.score("test") is not None for run in here)
            one = Curves(setting, heading, task, "test" if scored else "dev")
            for method in sorted({run.result.method for run in here}, key=method_order):
                points = _line([run for run in here if run.result.method == method], setting, one.split)
                if len(points) >= FEWEST:
                    one.lines[method_label(method)] = points
            if one.lines:
                found.append(one)
    return found


def expect_best(points: Sequence[CurvePoint]) -> list[tuple[int, float, float | None]]:
    """Return k, the expected best dev score of k random trials, and the expected test score of the best, for each k.

    Each point of the curve counts as one trial. The test score is None if a trial has no test score. By Eq. 8 of Dodge
    et al. (2019), with n trials in ascending order of their scores, the best of k trials is the i-th trial with
    probability (i/n)^k - ((i-1)/n)^k.
    """
    ranked = sorted(points, key=lambda point: point.score)
    n = len(ranked)
    ends = np.arange(n + 1) / n
    found = []
    for k in range(1, n + 1):
        chances = np.diff(ends**k)
        dev = float(chances @ [point.score for point in ranked])
        tests = [point.test for point in ranked if point.test is not None]
        found.append((k, dev, float(chances @ tests) if len(tests) == n else None))
    return found


def _line(runs: Sequence[StoredRun], setting: str, split: str) -> list[CurvePoint]:
    """Return the points of the variant with the most values of the setting, and of these with the most runs."""
    variants: dict[Any, dict[float, list[StoredRun]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        x = _value(run, setting)
        if x is not None and run.score(split) is not None:
            rest = frozenset((key, value) for key, value in run.settings.items() if key not in VARYING[setting])
            variants[rest][x].append(run)
    chosen = max(variants.values(), key=lambda one: (len(one), sum(map(len, one.values()))), default={})
    return [_point(x, chosen[x], split) for x in sorted(chosen)]


def _value(run: StoredRun, setting: str) -> float | None:
    text = run.setting(setting)
    if setting == ROWS and text in (None, "null"):
        rows = run.result.splits.get("train", {}).get("rows")
        return None if rows is None else float(rows)
    try:
        value = float(text or "0")
    except ValueError:  # the result was edited by hand
        return None
    return value if value > 0 else None


def _point(x: float, runs: Sequence[StoredRun], split: str) -> CurvePoint:
    scores = [score for run in runs if (score := run.score(split)) is not None]
    tests = [score for run in runs if (score := run.score("test")) is not None]
    test = fmean(tests) if len(tests) == len(runs) else None
    return CurvePoint(x, tuple(runs), fmean(scores), seed_interval(scores), test)
