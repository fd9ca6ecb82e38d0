"""Read the labels and predictions of a test set: from a finished run, or from a file of any tool (`krona compare`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from krona.messages import KronaError, did_you_mean
from krona.metrics.scores.metric import Floats
from krona.runs.folder import RunFolder, find_run
from krona.runs.predictions import decode_label, label_words, read_rows, score_metrics
from krona.tasks.files import DataFile, FileColumns
from krona.tasks.values import BadRowError

IDS, LABELS = ("id", "idx", "index", "guid"), ("label", "target", "gold", "reference")
PREDICTIONS = ("prediction", "pred", "predicted", "answer")


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
