"""The charts of a study of `krona tune`: its trials in order and along each axis."""

from collections.abc import Sequence

from krona.report.charts.chart import Axis, Chart, Point, Series
from krona.report.charts.looks import Look, method_look
from krona.report.charts.scores import score_chart
from krona.report.text import number
from krona.runs.studies import Axis as SearchAxis
from krona.runs.studies import Study, Trial

PRUNED = Look("#5b7083", "#a9bccd", "x")
MOST_NAMES = 20  # of choices on an axis


def study_charts(study: Study) -> list[Chart]:
    """Return the dev score by trial and along each axis of a search; none for a single trial."""
    trials = [one for one in study.trials if one.value is not None and one.state in ("finished", "pruned")]
    if len(trials) < 2:
        return []
    best: list[Point] = []
    for one in trials:
        if one.state == "finished":
            best.append(Point(one.number, max([one.value or 0.0, *(point.y for point in best)])))
    charts = [_trial_chart("Dev score by trial", Axis("trial", "whole"), [(one.number, one) for one in trials], best)]
    for axis in study.axes:
        places = [(place, one) for one in trials if (place := _position(axis, one)) is not None]
        if len(places) > 1:
            charts.append(_trial_chart(f"Dev score along {axis.key}", _chart_axis(axis), places))
    return charts


def _trial_chart(
    title: str, axis: Axis, trials: Sequence[tuple[float, Trial]], best: Sequence[Point] = ()
) -> Chart:  # fmt: skip
    series = []
    for state, look in (("finished", method_look("full")), ("pruned", PRUNED)):
        points = [
            Point(x, one.value or 0.0, None, f"trial {one.number}, {state}: {number(one.value or 0.0)}")
            for x, one in trials
            if one.state == state
        ]
        series += [Series(state, look, points)] if points else []
    detail = "dots finished, crosses pruned, line the best until then" if best else ""
    return score_chart(title, axis, "dev score (0–100)", series, detail=detail, front=best)


def _chart_axis(axis: SearchAxis) -> Axis:
    if axis.choices:
        step = 1 + len(axis.choices) // MOST_NAMES
        return Axis(axis.key, ticks=[(i, str(name)) for i, name in enumerate(axis.choices) if i % step == 0])
    return Axis(f"{axis.key}, log.", "log", axis.low, axis.high) if axis.log else Axis(axis.key, low=axis.low)


def _position(axis: SearchAxis, trial: Trial) -> float | None:
    """Return where a trial stands on an axis: a choice by its number."""
    value = trial.params.get(axis.key)
    if value is None or (axis.choices and str(value) not in axis.choices):
        return None
    return float(axis.choices.index(str(value))) if axis.choices else float(value)
