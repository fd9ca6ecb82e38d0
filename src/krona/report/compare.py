"""Compare the predictions of runs, or of files of any tools, row by row (`krona compare A B`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import sqrt
from pathlib import Path
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
from krona.runs.folder import RunFolder, find_run
from krona.runs.predictions import decode_label, label_words, read_rows, score_metrics
from krona.tasks.files import DataFile, FileColumns
from krona.tasks.values import BadRowError

IDS, LABELS = ("id", "idx", "index", "guid"), ("label", "target", "gold", "reference")
PREDICTIONS = ("prediction", "pred", "predicted", "answer")
LEGEND = (
    "Difference: the first minus the second, in points, with its 95 % interval. Test: Student's paired t-test over rows"
    " (or groups of rows); p (Holm) is corrected over all pairs. Detectable: the true difference that this test finds "
    "in 80 % of cases. The test is about these predictions. To compare methods, train several seeds and use krona "
    "report."
)


@dataclass(frozen=True)
class Predictions:
    """The rows of one test set with the predictions of one model."""

    name: str
    ids: Sequence[str]
    labels: Sequence[str]
    predictions: Sequence[str] = ()
    values: Floats | None = None  # the metric of each row, (n,), of a file of lm-evaluation-harness
    groups: Sequence[int] | None = None
    label_names: Sequence[str] = ()  # in the order of their ids; empty: unknown
    metrics: Sequence[str] = field(default=("accuracy",))


def read_predictions(
    source: str, outputs: Path, *, id: str | None, label: str | None, prediction: str | None, metric: str | None
) -> Predictions:
    """Read a TSV, CSV, JSONL or Parquet file, or the test predictions of a run.

    Args:
        source: a file, or a run (its id, the beginning of its id, or its folder).
        outputs: the folder with runs.
        id: the column with the ids of the rows; None: one of `IDS`. `label` and `prediction` likewise.
        metric: for a file of lm-evaluation-harness, its metric; None: the first one.

    Raises:
        KronaError: the run or the file cannot be read, or a column is missing.
    """
    path = Path(source)
    if not path.is_file() or path.name == "result.json":
        return _read_run(find_run(outputs, source))
    if path.name.startswith("samples_") and path.suffix == ".jsonl":
        return _read_samples(path, metric)
    given = {"id": (id, IDS), "label": (label, LABELS), "prediction": (prediction, PREDICTIONS)}
    names = {column: [name] if name else list(usual) for column, (name, usual) in given.items()}
    rows = _rows(path, FileColumns(names=names))
    ids, labels, predictions = ([str(row[column]).strip() for row in rows] for column in names)
    return Predictions(source, ids, labels, predictions)


def _rows(path: Path, columns: FileColumns) -> list[Any]:
    rows = []
    for line, row in DataFile(path, columns):
        if isinstance(row, BadRowError):
            raise KronaError(f"{path}:{line}: {row}")
        rows.append(row)
    if not rows:
        raise KronaError(f"{path} has no rows.")
    return rows


def _read_samples(path: Path, metric: str | None) -> Predictions:
    """Read a file of ``lm_eval --log_samples``. ``metric`` can name a filter, such as exact_match,strict-match."""
    rows = _rows(path, FileColumns(names={"doc_id": ["doc_id"]}, others=True))
    name, _, chosen = (metric or "").partition(",")
    filters = list(dict.fromkeys(str(row.get("filter", "none")) for row in rows))
    if not chosen and len(filters) > 1:
        raise KronaError(f"{path} has the filters {', '.join(filters)}. Choose one: --metric METRIC,{filters[0]}")
    rows = [row for row in rows if not chosen or row.get("filter") == chosen]
    if not rows:
        raise KronaError(f"--metric {metric}: {path} has no filter {chosen!r}: {did_you_mean(chosen, filters)}")
    known = [key for key, value in rows[0].items() if key != "doc_id" and isinstance(value, int | float)]
    name = name or next(iter(rows[0].get("metrics") or known), "")
    if name not in known:
        raise KronaError(f"--metric {name}: {path} has no such number: {did_you_mean(name, known)}")
    values = np.array([float(row[name]) for row in rows])
    return Predictions(
        str(path), [str(row["doc_id"]) for row in rows], [str(row.get("target", "")) for row in rows],
        values=values, metrics=(name,),
    )  # fmt: skip


def _read_run(run: RunFolder) -> Predictions:
    result = run.read()
    task = result.config["task"]
    grouped = bool(task.get("group_columns"))
    names = ["split", "id", "target", "prediction", *(["group"] if grouped else [])]
    columns = read_rows(run.predictions, *names)
    rows = [row for row, split in enumerate(columns.pop("split")) if split == "test"]
    if result.status != "done" or not rows:
        raise KronaError(f"{result.run_id} has no predictions on test. Use a finished run with score_test=true.")
    ids, labels, predictions, *groups = ([values[row] for row in rows] for values in columns.values())
    return Predictions(
        result.run_id, ids, [decode_label(text, task) for text in labels],
        [decode_label(text, task) for text in predictions], groups=list(map(int, groups[0])) if groups else None,
        label_names=[*label_words(task).values()], metrics=score_metrics(task),
    )  # fmt: skip


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
        change = contributions[i] - contributions[j]
        rows, error = len(change), sqrt(len(change)) * float(change.std(ddof=1))
        one = Difference(float(change.sum()), error, min(rows - 1, MAX_DF), seeds=(1, 1), rows=rows)
        values = one.value, *one.interval, one.p, one.p_equivalent(margin), one.detectable(POWER)
        lines.append((sources[i].name, sources[j].name, *values))
    names = ["first", "second", "difference", "low", "high", "p", "p_equivalent", "detectable"]
    frame = pd.DataFrame(lines, columns=names)
    frame["p_holm"] = holm([*frame.p])
    scores = {source.name: float(sum(row)) for source, row in zip(sources, contributions, strict=True)}
    frame.attrs |= {"scores": scores, "metrics": metrics, "rows": contributions.shape[1], "margin": margin}
    return frame


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
