"""Compare the predictions of runs, or of files of any tools, row by row (`krona compare A B`)."""

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd

from krona.formatting import format_p, table
from krona.messages import KronaError, did_you_mean, join_names
from krona.metrics.compare_methods import MAX_DF, Difference, row_contributions
from krona.metrics.power import POWER
from krona.metrics.scores import METRICS
from krona.metrics.scores.metric import Floats, encode
from krona.metrics.statistics import holm
from krona.report.prediction_files import Predictions

LEGEND = (
    "Difference: the first minus the second, in points, with its 95 % interval. Test: Student's paired t-test over rows"
    " (or groups of rows); p (Holm) is corrected over all pairs. Detectable: the true difference that this test finds "
    "in 80 % of cases. The test is about these predictions. To compare methods, train several seeds and use krona "
    "report."
)


def compare(sources: Sequence[Predictions], *, metrics: Sequence[str] = (), margin: float = 1.0) -> pd.DataFrame:
    """Compare each pair of predictions on the same rows.

    Args:
        metrics: the metrics whose mean is compared; empty: those of the first source.
        margin: the margin of the equivalence test in points.

    Returns:
        A frame with first, second, difference, low, high, p, p_holm, p_equivalent and detectable. Its ``attrs`` have
        the ``scores`` by name, the ``metrics``, and the number of ``rows`` (or groups).

    Raises:
        KronaError: the rows, their labels or the metrics of samples differ, there is one row, or a metric is unknown or
            does not fit the labels.
    """
    if len(sources[0].ids) < 2:
        raise KronaError(f"{sources[0].name} has one row. A test needs at least two rows.")
    sources = [_align(source, sources[0]) for source in sources]
    metrics = [*(metrics or sources[0].metrics)]
    contributions = _contributions(sources, metrics)
    lines = []
    for i, j in combinations(range(len(sources)), 2):
        one = paired_difference(contributions[i] - contributions[j])
        values = one.value, *one.interval, one.p, one.p_equivalent(margin), one.detectable(POWER)
        lines.append((sources[i].name, sources[j].name, *values))
    names = ["first", "second", "difference", "low", "high", "p", "p_equivalent", "detectable"]
    frame = pd.DataFrame(lines, columns=names)
    frame["p_holm"] = holm([*frame.p])
    scores = {source.name: float(sum(row)) for source, row in zip(sources, contributions, strict=True)}
    frame.attrs |= {"scores": scores, "metrics": metrics, "rows": contributions.shape[1], "margin": margin}
    return frame


def paired_difference(change: Floats) -> Difference:
    """Return the difference of two scores with the error of Student's paired t-test.

    Args:
        change: the difference of the contributions of each row to the scores in points, (N,).
    """
    error = sqrt(len(change)) * float(change.std(ddof=1))
    return Difference(float(change.sum()), error, min(len(change) - 1, MAX_DF), seeds=(1, 1), rows=len(change))


def _contributions(sources: Sequence[Predictions], metrics: Sequence[str]) -> Floats:
    """Return the contribution of each row to each score in points, (sources, N)."""
    first = sources[0]
    values = [source.values for source in sources if source.values is not None]
    if values:
        if len(values) < len(sources) or len({source.metrics for source in sources}) > 1:
            found = ", ".join(f"{source.name}: {' and '.join(source.metrics)}" for source in sources)
            raise KronaError(f"Samples of lm-evaluation-harness need samples with the same metric ({found}).")
        return np.array([100 * value / len(value) for value in values])
    if unknown := [name for name in metrics if name not in METRICS]:
        raise KronaError(f"--metric {unknown[0]} is not a metric of krona: {did_you_mean(unknown[0], METRICS)}")
    of_numbers = METRICS[metrics[0]].of_numbers
    labels = None if of_numbers else [*first.label_names] or sorted({*first.labels})
    try:
        answers = [encode(source.labels, source.predictions, labels, source.groups) for source in sources]
        return row_contributions(answers, metrics)
    except (KeyError, ValueError, AssertionError) as error:
        raise KronaError(f"The metric {' and '.join(metrics)} does not fit the labels: {error}") from error


def _align(source: Predictions, first: Predictions) -> Predictions:
    """Return a source with its rows in the order of the first source."""
    places = {row: place for place, row in enumerate(source.ids)}
    if len(places) < len(source.ids):
        raise KronaError(f"{source.name} has an id twice. The column with the ids can be chosen by --id.")
    both = sum(row in places for row in first.ids)
    if not both == len(first.ids) == len(places):
        raise KronaError(
            f"{first.name} has {len(first.ids):,} rows, and {source.name} has {len(places):,}. {both:,} ids are in "
            "both. Compare predictions of the same rows."
        )
    order = [places[row] for row in first.ids]
    labels = [source.labels[place] for place in order]
    if differing := sum(a != b for a, b in zip(labels, first.labels, strict=True)):
        raise KronaError(f"{differing:,} of {both:,} rows have other labels in {source.name} than in {first.name}.")
    predictions = [source.predictions[place] for place in order] if source.predictions else []
    values = None if source.values is None else source.values[order]
    return Predictions(
        source.name, first.ids, labels, predictions, values, first.groups, first.label_names, source.metrics
    )


def _numbers(pair: Any) -> list[str]:
    values = f"{pair.difference:+.2f}", f"{pair.low:+.2f}…{pair.high:+.2f}"
    p_values = map(format_p, (pair.p, pair.p_holm, pair.p_equivalent))
    return [*(value.replace("-", "−") for value in values), *p_values, f"{pair.detectable:.2f}"]


def render(frame: pd.DataFrame, *, width: int | None) -> str:
    """Return a comparison as text. ``width`` is the width of the terminal; None means that rows are not broken."""
    attrs = frame.attrs
    scores = [(name, f"{score:.2f}") for name, score in attrs["scores"].items()]
    rows = [(f"{pair.first} − {pair.second}", *_numbers(pair)) for pair in frame.itertuples()]
    equivalent = f"p (within {attrs['margin']:g})"
    headings = ("Pair", "Difference", "95 % interval", "p", "p (Holm)", equivalent, "Detectable")
    lines = [
        f"{join_names(attrs['metrics'])} of {attrs['rows']:,} rows", "",
        table(("Predictions", "Score"), scores, width=width, left=["Predictions"]).plain, "",
        table(headings, rows, width=width, left=["Pair"]).plain, "",
        f"{LEGEND} p (within {attrs['margin']:g}): of the hypothesis that the difference is larger than the margin.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
