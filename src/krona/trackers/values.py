"""Values that trackers log, and their keys (docs/tracking.md), as plain values without torch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from krona.runs.folder import RunFolder
from krona.runs.predictions import decode_label
from krona.runs.result import Result
from krona.trackers.tracker import Value

NOT_LOGGED = ("logger", "overwrite", "retry")  # keys of the config that are no property of the run
STEP, STEP_LOSS = "train/step", "train/step_loss"
MOST_POINTS = 500  # of a run's loss curve


def flat_config(config: Mapping[str, Any], run_id: str) -> dict[str, Value]:
    """The resolved config in one level, ``method/scaling``, with short names for the usual filters.

    ``method``, ``task``, ``backbone`` are names, ``factors`` is the shape of A as 32x24.
    """
    kept = {key: value for key, value in config.items() if key not in NOT_LOGGED}
    flat = dict(_flat(kept, ""))
    for group in ("method", "task", "backbone"):
        flat[group] = str(kept.get(group, {}).get("name"))
    factors = kept.get("method", {}).get("kron_factors")
    flat["factors"] = "x".join(str(side) for side in factors[0]) if factors else "none"
    flat["run_id"] = run_id
    return flat


def _flat(value: Any, path: str) -> Iterator[tuple[str, Value]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}/{key}" if path else str(key))
    elif isinstance(value, int | float | str):
        yield path, value
    else:
        yield path, "null" if value is None else json.dumps(value)


def epoch_values(row: Mapping[str, Any], best: float) -> dict[str, float]:
    """A row of the dev curve under the trackers' keys. ``dev/best``: the score of the epoch chosen until now."""
    named = {"epoch": "epoch", "loss": "train/loss", "lr": "train/lr", "examples_seen": "train/examples_seen"}
    named |= {"step": STEP, "examples_per_s": "train/examples_per_s", "score": "dev/score"}
    values = {key: float(row[name]) for name, key in named.items() if name in row}
    return values | {f"dev/{name}": float(value) for name, value in row["parts"].items()} | {"dev/best": best}


def with_best(curve: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Each row of a dev curve with the score of the best epoch until then: the earliest of the highest ``choice``."""
    best: tuple[float, float] | None = None  # choice, score
    for row in curve:
        if best is None or row["choice"] > best[0]:
            best = (row["choice"], row["score"])
        yield row, best[1]


def summary_values(result: Result) -> dict[str, Value]:
    """The final values of a run that is done. Times are seconds, memory is bytes."""
    values: dict[str, Value] = {"status": result.status, "best_epoch": result.best_epoch or 0}
    for split, scores in (("dev", result.dev), ("test", result.test)):
        if scores is not None:
            values[f"{split}/best" if split == "dev" else f"{split}/score"] = float(scores["score"])
            values |= {f"{split}/best_{name}" if split == "dev" else f"{split}/{name}": float(value)
                       for name, value in scores["parts"].items()}  # fmt: skip
    if result.trainable_params is not None and result.trainable_percent is not None:
        values |= {"params/trainable": result.trainable_params, "params/percent": result.trainable_percent}
    if result.head_params is not None:
        values["params/head"] = result.head_params
    values |= {f"time/{name}": float(value) for name, value in result.times.items()}
    return values | {f"memory/{name}": int(value) for name, value in result.peak_memory.items()}


def numbers(summary: Mapping[str, Value]) -> dict[str, float]:
    """The values of a summary that are numbers, for loggers that take no others."""
    return {key: value for key, value in summary.items() if not isinstance(value, str)}


def loss_curve(losses: Sequence[float], *, last: int, total: int) -> dict[int, float]:
    """Step → the mean loss since the point before, of an epoch whose last step is ``last``, of ``total`` of a run.

    A point every ``total`` / 500 steps, and one at the epoch's end.
    """
    every, curve, since = -(-total // MOST_POINTS) or 1, {}, 0
    for i in range(1, len(losses) + 1):
        step = last - len(losses) + i
        if step % every == 0 or i == len(losses):
            curve[step] = sum(losses[since:i]) / (i - since)
            since = i
    return curve


def predictions(folder: Path, words: Mapping[str, str], *, most: int) -> tuple[list[str], list[list[Value]]]:
    """The test predictions of a run as columns and rows, at most ``most`` of them; labels as ``words``."""
    columns = ["id", "source", "target", "prediction", "right"]
    rows: list[list[Value]] = []
    with RunFolder(folder).predictions.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["split"] == "test" and len(rows) < most:
                right = int(row["target"] == row["prediction"])
                labels = [decode_label(row[name], words) for name in ("target", "prediction")]
                rows.append([str(row["id"]), row["source"], *labels, right])
    return columns, rows


class History:
    """``tracked.jsonl`` in the run's folder: the logged values, so that a resumed run can log them again."""

    def __init__(self, folder: Path) -> None:
        self.path = RunFolder(folder).tracked

    def add(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every complete line; a run that was killed may have left an incomplete one."""
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def epochs(self) -> dict[int, tuple[dict[str, float], dict[int, float]]]:
        """Each epoch's values and its loss curve (step → loss); the later ones of an epoch that was run twice."""
        return {
            int(entry["epoch"]): (entry["values"], {int(step): loss for step, loss in entry.get("steps", {}).items()})
            for entry in self.entries()
            if "epoch" in entry
        }
