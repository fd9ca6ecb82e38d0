"""Compare the predictions of runs, or of files of any tools, row by row (`krona compare A B`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd

from krona.formatting import format_p, table
from krona.messages import KronaError, did_you_mean, join_names
from krona.metrics.compare_methods import MAX_DF, Difference, row_contributions
from krona.metrics.scores import METRICS
from krona.metrics.scores.metric import Floats, encode
from krona.metrics.statistics import holm
from krona.report.pairs import MARGIN, difference_values, format_pairs
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
    """The predictions of one model on a test set.

    Args:
        rows: the columns ``label`` and ``prediction`` and, if the test resamples groups, ``group``, by the ids of the
            rows. A file of lm-evaluation-harness has the ``value`` of a metric instead of the prediction.
        label_names: the labels in the order of their ids; empty: unknown.
    """

    name: str
    rows: pd.DataFrame
    metrics: Sequence[str] = ("accuracy",)
    label_names: Sequence[str] = ()


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
    frame = _read_file(path, FileColumns(names=names)).astype(str)
    return Predictions(source, frame.apply(lambda column: column.str.strip()).set_index("id"))


def _read_file(path: Path, columns: FileColumns) -> pd.DataFrame:
    rows = []
    for line, row in DataFile(path, columns):
        if isinstance(row, BadRowError):
            raise KronaError(f"{path}:{line}: {row}")
        rows.append(row)
    if not rows:
        raise KronaError(f"{path} has no rows.")
    return pd.DataFrame(rows)


def _read_samples(path: Path, metric: str | None) -> Predictions:
    """Read a file of ``lm_eval --log_samples``. ``metric`` can name a filter, such as exact_match,strict-match."""
    frame = _read_file(path, FileColumns(names={"doc_id": ["doc_id"]}, others=True))
    name, _, chosen = (metric or "").partition(",")
    filters = [*frame["filter"].unique()] if "filter" in frame else []
    if not chosen and len(filters) > 1:
        raise KronaError(f"{path} has the filters {', '.join(filters)}. Choose one: --metric METRIC,{filters[0]}")
    if chosen:
        if chosen not in filters:
            raise KronaError(f"--metric {metric}: {path} has no filter {chosen!r}: {did_you_mean(chosen, filters)}")
        frame = frame[frame["filter"] == chosen]
    known = [*frame.select_dtypes(["number", "bool"]).columns.drop("doc_id", errors="ignore")]
    name = name or next(iter(frame["metrics"].iloc[0] if "metrics" in frame else known), "")
    if name not in known:
        raise KronaError(f"--metric {name}: {path} has no such number: {did_you_mean(name, known)}")
    label = frame["target"].astype(str) if "target" in frame else ""
    rows = frame.assign(id=frame["doc_id"].astype(str), label=label, value=frame[name].astype(float))
    return Predictions(str(path), rows.set_index("id")[["label", "value"]], metrics=(name,))


def _read_run(run: RunFolder) -> Predictions:
    result = run.read()
    task = result.config["task"]
    names = ["split", "id", "target", "prediction", *(["group"] if task.get("group_columns") else [])]
    frame = pd.DataFrame(read_rows(run.predictions, *names))
    frame = frame[frame["split"] == "test"].set_index("id").rename(columns={"target": "label"})
    if result.status != "done" or frame.empty:
        raise KronaError(f"{result.run_id} has no predictions on test. Use a finished run with score_test=true.")
    for column in ("label", "prediction"):
        frame[column] = [decode_label(text, task) for text in frame[column]]
    return Predictions(result.run_id, frame, score_metrics(task), [*label_words(task).values()])


def compare(sources: Sequence[Predictions], *, metrics: Sequence[str] = (), margin: float = MARGIN) -> pd.DataFrame:
    """Compare each pair of predictions on the same rows.

    Args:
        metrics: the metrics whose mean is compared; empty: those of the first source.
        margin: the margin of the equivalence test in points.

    Returns:
        A frame of pairs (`krona.report.table.PAIRS`) without ``column`` and ``p_reference``. Its ``attrs`` have the
        ``scores`` by name, the ``metrics``, and the number of ``rows`` (or groups).

    Raises:
        KronaError: the rows, their labels or the metrics of samples differ, there is one row, or a metric is unknown or
            does not fit the labels.
    """
    if len(sources[0].rows) < 2:
        raise KronaError(f"{sources[0].name} has one row. A test needs at least two rows.")
    sources = [_align(source, sources[0]) for source in sources]
    metrics = [*(metrics or sources[0].metrics)]
    contributions = _contributions(sources, metrics)
    lines = []
    for i, j in combinations(range(len(sources)), 2):
        change = contributions[i] - contributions[j]
        rows, error = len(change), sqrt(len(change)) * float(change.std(ddof=1))
        one = Difference(float(change.sum()), error, min(rows - 1, MAX_DF), seeds=(1, 1), rows=rows)
        lines.append({"row": sources[i].name, "reference": sources[j].name, **difference_values(one, margin)})
    frame = pd.DataFrame(lines)
    frame["p_holm"] = holm([*frame.p])
    scores = {source.name: float(sum(row)) for source, row in zip(sources, contributions, strict=True)}
    frame.attrs |= {"scores": scores, "metrics": metrics, "rows": contributions.shape[1], "margin": margin}
    return frame


def _contributions(sources: Sequence[Predictions], metrics: Sequence[str]) -> Floats:
    """Return the contribution of each row to each score in points, (sources, N)."""
    first = sources[0]
    samples = [source for source in sources if "value" in source.rows]
    if samples:
        if len(samples) < len(sources) or len({source.metrics for source in sources}) > 1:
            found = ", ".join(f"{source.name}: {' and '.join(source.metrics)}" for source in sources)
            raise KronaError(f"Samples of lm-evaluation-harness need samples with the same metric ({found}).")
        return np.array([100 * source.rows["value"] / len(source.rows) for source in sources])
    if unknown := [name for name in metrics if name not in METRICS]:
        raise KronaError(f"--metric {unknown[0]} is not a metric of krona: {did_you_mean(unknown[0], METRICS)}")
    texts = [*first.rows["label"]]
    labels = None if METRICS[metrics[0]].of_numbers else [*first.label_names] or sorted({*texts})
    groups = [*map(int, first.rows["group"])] if "group" in first.rows else None
    try:
        return row_contributions(
            [encode(texts, [*source.rows["prediction"]], labels, groups) for source in sources], metrics
        )
    except (KeyError, ValueError, AssertionError) as error:
        raise KronaError(f"The metric {' and '.join(metrics)} does not fit the labels: {error}") from error


def _align(source: Predictions, first: Predictions) -> Predictions:
    """Return a source with its rows in the order of the first source."""
    if not source.rows.index.is_unique:
        raise KronaError(f"{source.name} has an id twice. The column with the ids can be chosen by --id.")
    both = int(first.rows.index.isin(source.rows.index).sum())
    if not both == len(first.rows) == len(source.rows):
        raise KronaError(
            f"{first.name} has {len(first.rows):,} rows, and {source.name} has {len(source.rows):,}. {both:,} ids are "
            "in both. Compare predictions of the same rows."
        )
    rows = source.rows.loc[first.rows.index]
    if differing := int((rows["label"] != first.rows["label"]).sum()):
        raise KronaError(f"{differing:,} of {both:,} rows have other labels in {source.name} than in {first.name}.")
    return replace(source, rows=rows)


def render(frame: pd.DataFrame, *, width: int | None) -> str:
    """Return a comparison as text. ``width`` is the width of the terminal; None means that rows are not broken."""
    attrs = frame.attrs
    scores = [(name, f"{score:.2f}") for name, score in attrs["scores"].items()]
    pairs = format_pairs(frame).drop(columns="Seeds")
    equivalent = f"p (within {attrs['margin']:g})"
    pairs.insert(5, equivalent, [format_p(p) for p in frame["p_equivalent"]])
    lines = [
        f"{join_names(attrs['metrics'])} of {attrs['rows']:,} rows", "",
        table(("Predictions", "Score"), scores, width=width, left=["Predictions"]).plain, "",
        table([*pairs], [*pairs.itertuples(index=False)], width=width, left=["Pair"]).plain, "",
        f"{LEGEND} {equivalent}: of the hypothesis that the difference is larger than the margin.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
