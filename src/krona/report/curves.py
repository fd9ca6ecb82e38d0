"""Compute curves over a setting: the scores by learning rate or training rows."""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from krona.display_names import method_order, task_label, task_order
from krona.metrics.statistics import Interval
from krona.report.runs import ReportRun, Runs, group_by, read_setting
from krona.report.table import seed_interval
from krona.report.text import SEEDS

RATE, ROWS = "optimizer.lr", "data.train_rows"
MIN_VALUES = 3  # a curve needs at least this number of values of the setting
# The settings that may differ between the runs of a curve.
VARYING = {RATE: (RATE,), ROWS: (ROWS, "data.subset_seed", "train set", "rows left out")}
NAMES = {RATE: "learning rate", ROWS: "training rows"}


@dataclass(frozen=True)
class CurvePoint:
    """A point of a curve: the mean score over the seeds with one value of the setting."""

    x: float  # the value of the setting
    seeds: int
    score: float
    interval: Interval | None  # the interval over seeds (`krona.report.table.seed_interval`)
    test: float | None = None  # the mean test score, if all runs have one


@dataclass(frozen=True)
class Curves:
    """The curves of all methods on one task of one section. Curves over learning rates show dev scores."""

    setting: str
    heading: str
    task: str
    split: str
    lines: dict[str, list[CurvePoint]] = field(default_factory=dict)  # the points of each curve by method name

    @property
    def title(self) -> str:
        return f"{task_label(self.task)} {self.split} by {NAMES[self.setting]}: {self.heading}"

    def explain_bars(self) -> str:
        """Return a sentence that explains the error bars of the points, or an empty text if there are no bars."""
        bars = any(point.interval for points in self.lines.values() for point in points)
        return f"Bars: over seeds ({SEEDS})." if bars else ""


def find_curves(runs: Runs) -> list[Curves]:
    """Return the curves over learning rates and over training rows.

    A method has a curve if its finished runs tried at least `MIN_VALUES` learning rates or numbers of training rows,
    with otherwise equal settings.
    """
    curves = []
    tables = [
        (section.heading(group), task, group)
        for (section, task), group in group_by(runs, lambda run: (run.section, run.task)).items()
    ]
    for heading, task, group in sorted(tables, key=lambda table: (table[0], task_order(table[1]))):
        for setting in (RATE, ROWS):
            scored = setting == ROWS and all("test" in run.scores for run in group)
            of_setting = Curves(setting, heading, task, "test" if scored else "dev")
            by_method = group_by(group, lambda run: run.method)
            for method in sorted(by_method, key=method_order):
                points = _curve(by_method[method], setting, of_setting.split)
                if len(points) >= MIN_VALUES:
                    of_setting.lines[method] = points
            if of_setting.lines:
                curves.append(of_setting)
    return curves


def _curve(runs: Runs, setting: str, split: str) -> list[CurvePoint]:
    """Return the points of the variant with the most values of the setting and, among these, the most runs."""
    variants: dict[frozenset[tuple[str, str]], dict[float, list[ReportRun]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if split in run.scores and (x := _setting_value(run, setting)) is not None:
            rest = frozenset((key, value) for key, value in run.settings.items() if key not in VARYING[setting])
            variants[rest][x].append(run)
    chosen = max(variants.values(), key=lambda variant: (len(variant), sum(map(len, variant.values()))), default={})
    points = []
    for x in sorted(chosen):
        tests = [run.scores["test"] for run in chosen[x] if "test" in run.scores]
        test = float(np.mean(tests)) if len(tests) == len(chosen[x]) else None
        values = [run.scores[split] for run in chosen[x]]
        points.append(CurvePoint(x, len(values), fmean(values), seed_interval(values), test))
    return points


def _setting_value(run: ReportRun, setting: str) -> float | None:
    text = read_setting(run, setting)
    if setting == ROWS and text in (None, "null"):
        rows = run.result.splits.get("train", {}).get("rows")
        return None if rows is None else float(rows)
    try:
        value = float(text or "0")
    except ValueError:  # a result that was edited by hand may contain any text
        return None
    return value if value > 0 else None
