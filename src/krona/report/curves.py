"""Scores over one setting: learning rates, with what k trials are worth, and numbers of training rows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from krona.metrics.statistics import Interval, t_interval
from krona.paper import METHOD_LABELS, method_order, task_label, task_order
from krona.report.selection import StoredRun
from krona.report.table import seed_range

RATE, ROWS = "optimizer.lr", "data.train_rows"
FEWEST = 3  # values of the setting that make a curve
NOT_HELD = {RATE: (RATE,), ROWS: (ROWS, "data.subset_seed", "train set", "rows left out")}  # what may differ along one


@dataclass(frozen=True)
class Point:
    """One value of the setting: the runs of all seeds, and their mean scores."""

    x: float
    runs: tuple[StoredRun, ...]
    score: float
    interval: Interval | None  # over seeds: the range of two, Student's t of more (95 %)
    test: float | None = None  # beside a dev score


@dataclass(frozen=True)
class Curves:
    """One task of one section: a line a method. ``split``: of the scores, dev for rates, which dev chooses."""

    setting: str
    heading: str
    task: str
    split: str
    lines: dict[str, list[Point]] = field(default_factory=dict)  # by the method's label

    @property
    def title(self) -> str:
        what = "learning rate" if self.setting == RATE else "training rows"
        return f"{task_label(self.task)} {self.split} by {what}: {self.heading}"


def curves_of(runs: Sequence[StoredRun]) -> list[Curves]:
    """The curves that these runs make; a method needs three values of a setting and all else equal."""
    places: dict[tuple[str, str], list[StoredRun]] = defaultdict(list)
    for run in runs:
        if run.status == "done":
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
                    one.lines[METHOD_LABELS.get(method, method)] = points
            if one.lines:
                found.append(one)
    return found


def bar_words(curves: Curves) -> list[str]:
    """Return what the bars of the points are; nothing where there are none."""
    seeds = {len(point.runs) for points in curves.lines.values() for point in points}
    kinds = ["the range of two"] if 2 in seeds else []
    kinds += ["Student's t, 95 %"] if max(seeds) > 2 else []
    return [f"Bars: over seeds ({'; of more: '.join(kinds)})."] if kinds else []


def expect_best(points: Sequence[Point]) -> list[tuple[int, float, float | None]]:
    """Return for k of the line's trials drawn at random: k, the expected best dev score, and its expected test score.

    Dodge et al. (2019), Eq. 8: with n trials in ascending order the best of k is the i-th with probability
    (i/n)^k - ((i-1)/n)^k. Test is that of the trial which dev chooses; None where a trial has none.
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


def _line(runs: Sequence[StoredRun], setting: str, split: str) -> list[Point]:
    """The points of the variant with the most values of the setting, and of these the one with the most runs."""
    found = [(x, run) for run in runs if (x := _value(run, setting)) is not None and run.score(split) is not None]
    if len({x for x, _ in found}) < FEWEST:
        return []
    variants: dict[tuple[str, ...], dict[float, list[StoredRun]]] = defaultdict(lambda: defaultdict(list))
    for x, run in found:
        variants[_rest(run, NOT_HELD[setting])][x].append(run)
    chosen = max(variants.values(), key=lambda one: (len(one), sum(map(len, one.values()))))
    return [_point(x, chosen[x], split) for x in sorted(chosen)]


def _rest(run: StoredRun, keys: Sequence[str]) -> tuple[str, ...]:
    """The variant without these settings."""

    def kept(part: str) -> str:
        if not any(f"{key}=" in part for key in keys):
            return part
        return "\n".join(line for line in part.split("\n") if line.partition("=")[0] not in keys)

    return tuple(text for part in run.variant if (text := kept(part)))


def _value(run: StoredRun, setting: str) -> float | None:
    text = run.setting(setting)
    if setting == ROWS and text == "null":
        rows = run.result.splits.get("train", {}).get("rows")
        return None if rows is None else float(rows)
    try:
        value = float(text or "0")
    except ValueError:  # of a result that was changed by hand
        return None
    return value if value > 0 else None


def _point(x: float, runs: Sequence[StoredRun], split: str) -> Point:
    scores = [score for run in runs if (score := run.score(split)) is not None]
    tests = [score for run in runs if (score := run.score("test")) is not None]
    test = fmean(tests) if len(tests) == len(runs) else None
    return Point(x, tuple(runs), fmean(scores), seed_range(scores) or t_interval(scores), test)
