"""Compute the values that trackers log. docs/tracking.md describes their keys."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from krona.runs.folder import RunFolder
from krona.runs.predictions import decode_label
from krona.runs.result import Result
from krona.trackers.tracker import About, Value

NOT_LOGGED = ("logger", "overwrite", "retry")  # keys of the config that do not describe the run
STEP, STEP_LOSS = "train/step", "train/step_loss"
EPOCH_KEYS = {  # from the column of the dev curve to the logged key
    "epoch": "epoch", "loss": "train/loss", "lr": "train/lr", "examples_seen": "train/examples_seen", "step": STEP,
    "examples_per_s": "train/examples_per_s", "score": "dev/score",
}  # fmt: skip
PREDICTION_COLUMNS = ("id", "source", "target", "prediction", "right")
MAX_POINTS = 500  # number of points in the loss curve of a run, plus one point at the end of each epoch


def flat_config(config: Mapping[str, Any], run_id: str) -> dict[str, Value]:
    """Return the resolved config as a dict with flat keys, such as ``method/scaling``.

    The dict also contains short keys, by which a logger can filter runs: ``run_id``, ``factors`` (the shape of A, such
    as 32x24), and ``method``, ``task`` and ``backbone`` with the names of the method, the task and the backbone.
    """
    kept = {key: value for key, value in config.items() if key not in NOT_LOGGED}
    flat = dict(_flatten(kept, ""))
    for group in ("method", "task", "backbone"):
        flat[group] = str(kept.get(group, {}).get("name"))
    factors = kept.get("method", {}).get("kron_factors")
    flat["factors"] = "x".join(str(side) for side in factors[0]) if factors else "none"
    flat["run_id"] = run_id
    return flat


def _flatten(value: Any, path: str) -> Iterator[tuple[str, Value]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{path}/{key}" if path else str(key))
    elif isinstance(value, int | float | str):
        yield path, value
    else:
        yield path, "null" if value is None else json.dumps(value)


def epoch_values(row: Mapping[str, Any], best: float) -> dict[str, float]:
    """Return a dict of the values that are logged for an epoch.

    Args:
        row: the row of the dev curve for the epoch.
        best: the dev score of the best epoch so far.
    """
    values = {key: float(row[name]) for name, key in EPOCH_KEYS.items() if name in row}
    return values | {f"dev/{name}": float(value) for name, value in row["parts"].items()} | {"dev/best": best}


def with_best(curve: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Yield each row of a dev curve, and the score of the best epoch so far.

    The best epoch is the earliest epoch with the highest ``choice``.
    """
    best = None
    for row in curve:
        if best is None or row["choice"] > best["choice"]:
            best = row
        yield row, best["score"]


def summary_values(result: Result) -> dict[str, Value]:
    """Return a dict of the final values of a finished run. Times are in seconds, memory is in bytes."""
    values: dict[str, Value] = {"status": result.status, "best_epoch": result.best_epoch or 0}
    if result.dev is not None:
        values["dev/best"] = float(result.dev["score"])
        values |= {f"dev/best_{name}": float(value) for name, value in result.dev["parts"].items()}
    if result.test is not None:
        values["test/score"] = float(result.test["score"])
        values |= {f"test/{name}": float(value) for name, value in result.test["parts"].items()}
    counts = {
        "trainable": result.trainable_params, "percent": result.trainable_percent, "head": result.head_params,
    }  # fmt: skip
    values |= {f"params/{name}": count for name, count in counts.items() if count is not None}
    values |= {f"time/{name}": float(value) for name, value in result.times.items()}
    return values | {f"memory/{name}": int(value) for name, value in result.peak_memory.items()}


def loss_curve(losses: Sequence[float], *, last: int, total: int) -> dict[int, float]:
    """Return the loss curve of an epoch, as a dict from the number of a step to the mean loss since the previous point.

    The curve has a point every ``total`` / `MAX_POINTS` steps (rounded up), and a point at the end of the epoch.

    Args:
        losses: the loss of each step of the epoch.
        last: the number of the last step of the epoch.
        total: the number of steps of the whole run.
    """
    every, curve, since = -(-total // MAX_POINTS) or 1, {}, 0
    for i in range(1, len(losses) + 1):
        step = last - len(losses) + i
        if step % every == 0 or i == len(losses):
            curve[step] = sum(losses[since:i]) / (i - since)
            since = i
    return curve


def read_predictions(about: About, *, most: int) -> list[list[Value]]:
    """Return a table of at most ``most`` test predictions of a run, with the columns `PREDICTION_COLUMNS`.

    Labels are written as words.
    """
    rows: list[list[Value]] = []
    with RunFolder(about.folder).predictions.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["split"] == "test" and len(rows) < most:
                labels = [decode_label(row[name], about.label_words) for name in ("target", "prediction")]
                rows.append([str(row["id"]), row["source"], *labels, int(row["target"] == row["prediction"])])
    return rows


class History:
    """The file ``tracked.jsonl`` in a run's folder.

    The file contains all logged values, so that a resumed run can log them again.
    """

    def __init__(self, folder: Path) -> None:
        self.path = RunFolder(folder).tracked

    def add(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield all entries. A line that cannot be parsed, because the run was killed while writing it, is skipped."""
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def epochs(self) -> dict[int, tuple[dict[str, float], dict[int, float]]]:
        """Return a dict from each epoch to its values and its loss curve.

        If an epoch was run twice, the dict contains the values of the second run of the epoch.
        """
        return {
            int(entry["epoch"]): (entry["values"], {int(step): loss for step, loss in entry.get("steps", {}).items()})
            for entry in self.entries()
            if "epoch" in entry
        }
