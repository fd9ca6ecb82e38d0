"""Compute the values that a run logs. docs/tracking.md describes their keys."""

import json
from collections.abc import Mapping
from typing import Any

from krona.runs.folder import RunFolder
from krona.runs.predictions import decode_label, read_rows
from krona.runs.result import Result
from krona.runs.run_id import as_text, flatten

Value = float | int | str

NOT_LOGGED = ("logger", "overwrite", "retry")  # keys of the config that do not describe the run
EPOCH_KEYS = {  # maps columns of the dev curve to logged keys
    "epoch": "train/epoch", "loss": "train/loss", "lr": "train/lr", "examples_seen": "train/examples_seen",
    "step": "train/step", "examples_per_s": "train/examples_per_s", "score": "dev/score",
}  # fmt: skip
PREDICTION_COLUMNS = ("id", "source", "target", "prediction", "right")


def flat_config(config: Mapping[str, Any], run_id: str) -> dict[str, Value]:
    """Return the resolved config with flat keys, such as ``method/scaling``.

    The result also contains short keys for filtering runs: ``run_id``, ``factors`` (the shape of A, such as 32x24), and
    the names ``method``, ``task`` and ``backbone``.
    """
    kept = {key: value for key, value in config.items() if key not in NOT_LOGGED}
    flat: dict[str, Value] = {
        key: value if isinstance(value, int | float | str) else json.dumps(value)
        for key, value in flatten(kept, separator="/")
    }
    for group in ("method", "task", "backbone"):
        flat[group] = str(kept.get(group, {}).get("name"))
    factors = kept.get("method", {}).get("kron_factors")
    flat["factors"] = as_text(factors) if factors else "none"
    flat["run_id"] = run_id
    return flat


def epoch_values(row: Mapping[str, Any], best: float) -> dict[str, float]:
    """Return the values that are logged for an epoch.

    Args:
        row: the row of the dev curve for the epoch.
        best: the dev score of the best epoch so far.
    """
    values = {key: float(row[name]) for name, key in EPOCH_KEYS.items() if name in row}
    values |= {f"train/lr/{group}": float(lr) for group, lr in row.get("lr_by_group", {}).items()}
    return values | {f"dev/{name}": float(value) for name, value in row["parts"].items()} | {"dev/best": best}


def summary_values(result: Result) -> dict[str, Value]:
    """Return the final values of a finished run. Times are in seconds, memory is in bytes."""
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


def read_predictions(run: RunFolder, task: Mapping[str, Any], *, most: int) -> list[list[Value]]:
    """Return at most ``most`` test predictions of a run, with the columns `PREDICTION_COLUMNS`.

    Args:
        task: the task of the run. In the rows, label names replace the target texts.
    """
    rows: list[list[Value]] = []
    columns = read_rows(run.predictions, "split", "id", "source", "target", "prediction").values()
    for split, id_, source, target, prediction in zip(*columns, strict=True):
        if split == "test" and len(rows) < most:
            labels = [decode_label(text, task) for text in (target, prediction)]
            rows.append([id_, source, *labels, int(target == prediction)])
    return rows
