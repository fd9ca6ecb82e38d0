"""The charts of a study of `krona tune`: its trials in order and along each axis."""

from collections.abc import Sequence

from krona.report.charts.axes import ChartAxis, linear_axis, log_axis, named_axis, whole_axis
from krona.report.charts.draw import Chart, Point, Series
from krona.report.charts.looks import Look, method_look
from krona.report.charts.scores import score_chart
from krona.report.text import number
from krona.runs.studies import Axis, Study, Trial

PRUNED = Look("#5b7083", "#a9bccd", "x")


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
