"""Studies of `krona tune` in a report: their results as sentences, and their charts."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from krona.messages import KronaError, amount
from krona.outputs.studies import Axis, Study, Trial, read_studies
from krona.report.charts.axes import ChartAxis, linear_axis, log_axis, named_axis, whole_axis
from krona.report.charts.draw import Chart, Point, Series
from krona.report.charts.looks import Look, method_look
from krona.report.pictures import score_chart
from krona.report.same_data import apart, differs
from krona.report.selection import StoredRun
from krona.report.text import number

PRUNED = Look("#5b7083", "#a9bccd", "x")
STATES = ("finished", "pruned", "failed", "running")


def studies_of(folders: Sequence[Path], runs: Sequence[StoredRun]) -> tuple[list[Study], list[str]]:
    """The studies that made some of these runs, and a sentence for each file that can't be read."""
    made = {run.sweep for run in runs}
    found = [one for folder in folders if (folder / "studies").is_dir() for one in read_studies(folder)]
    problems = [str(one) for one in found if isinstance(one, KronaError)]
    return [one for one in found if isinstance(one, Study) and one.name in made], problems


def in_words(study: Study, runs: Sequence[StoredRun]) -> list[str]:
    """The number of trials, the best and its values, the importance of each axis; of ``runs`` those that it made."""
    counts = Counter(trial.state for trial in study.trials)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    lines = [f"{amount(len(study.trials), 'trial')}: {states}."]
    made = [run for run in runs if run.sweep == study.name and run.status == "done"]
    if odd := dict.fromkeys(key for run in made for key in apart(made[0], run)):
        lines.append(f"Its trials were not run on the same data ({differs([*odd])}): their scores do not compare.")
    if study.best is None:
        return [*lines, "None has finished, so there is no best yet."]
    lines.append(f"Best dev score {study.best.value:.2f}, trial {study.best.number}: {values(study.best)}.")
    if study.importances:
        shares = ", ".join(f"{key} {100 * share:.0f} %" for key, share in study.importances.items())
        lines.append(f"Importance of each axis for the best half of the trials (PED-ANOVA): {shares}.")
    return lines


def values(trial: Trial) -> str:
    """``optimizer.lr=0.00312 factors=32x24``"""
    shown = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in trial.params.items()}
    return " ".join(f"{key}={value}" for key, value in shown.items())


def study_charts(study: Study) -> list[Chart]:
    """Return the dev score by trial and along each axis of a search; none for a single trial."""
    trials = [one for one in study.trials if one.value is not None and one.state in ("finished", "pruned")]
    if len(trials) < 2:
        return []
    best: list[Point] = []
    for one in trials:
        if one.state == "finished":
            best.append(Point(one.number, max([one.value or 0.0, *(point.y for point in best)])))
    numbers = whole_axis("trial", [one.number for one in trials])
    charts = [_trials("Dev score by trial", numbers, trials, [one.number for one in trials], best)]
    for axis in study.axes:
        there = [one for one in trials if _place(axis, one) is not None]
        if len(there) > 1:
            places = [_place(axis, one) or 0.0 for one in there]
            charts.append(_trials(f"Dev score along {axis.key}", _study_axis(axis, places), there, places))
    return charts


def _trials(
    title: str, axis: ChartAxis, trials: Sequence[Trial], xs: Sequence[float], best: Sequence[Point] = ()
) -> Chart:
    series = []
    for state, look in (("finished", method_look("full")), ("pruned", PRUNED)):
        points = [
            Point(x, one.value or 0.0, None, f"trial {one.number}, {state}: {number(one.value or 0.0)}")
            for one, x in zip(trials, xs, strict=True)
            if one.state == state
        ]
        series += [Series(state, look, points)] if points else []
    detail = "dots finished, crosses pruned, line the best until then" if best else ""
    return score_chart(title, axis, "dev score (0–100)", series, detail=detail, front=best)


def _study_axis(axis: Axis, places: Sequence[float]) -> ChartAxis:
    if axis.choices:
        return named_axis(axis.key, [str(one) for one in axis.choices])
    values = [*places, axis.low, axis.high]
    return log_axis(f"{axis.key}, log.", values) if axis.log else linear_axis(axis.key, values)


def _place(axis: Axis, trial: Trial) -> float | None:
    """Return where a trial stands on an axis: a choice by its number."""
    value = trial.params.get(axis.key)
    if value is None or (axis.choices and str(value) not in axis.choices):
        return None
    return float(axis.choices.index(str(value))) if axis.choices else float(value)
