"""Build a run's Lightning loggers, prevent their errors from stopping the run, and compute the logged values.

docs/tracking.md describes the keys of the values.
"""

import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import Logger
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities.seed import isolate_rng

from krona.messages import KronaError, first_line, shorten
from krona.runs.folder import RunFolder
from krona.runs.result import Result
from krona.runs.run_id import as_text, flatten
from krona.trackers.weights_and_biases import MAX_REASON, WandbLogger, wandb_id

Value = float | int | str
Outcome = Literal["done", "failed", "interrupted"]
CONNECT_S = 10  # seconds to wait for MLflow's server at the start; MLflow itself tries for minutes
# The status that is passed to `finalize` for each outcome of a run.
STATUS: Mapping[Outcome, str] = {"done": "success", "failed": "failed", "interrupted": "aborted"}
NOT_LOGGED = ("logger", "overwrite", "retry")  # keys of the config that do not describe the run
EPOCH_KEYS = {  # maps columns of the dev curve to logged keys
    "epoch": "train/epoch", "loss": "train/loss", "lr": "train/lr", "examples_seen": "train/examples_seen",
    "step": "train/step", "examples_per_s": "train/examples_per_s", "score": "dev/score",
}  # fmt: skip


class GuardedLogger(Logger):
    """Wraps a Lightning logger, so that errors of the logger do not stop the run.

    If a call fails, one line is printed, and the logger gets no further values. Calls do not change the random numbers
    of the run.

    Args:
        key: the name of the logger in the config, for messages.
        say: a function that prints a line.
    """

    def __init__(self, key: str, logger: Logger, *, say: Callable[[str], None]) -> None:
        super().__init__()
        self.key, self.logger, self.say, self.failed = key, logger, say, False

    @property
    def name(self) -> str | None:
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        return self.logger.version

    @property
    def save_dir(self) -> str | None:
        return self.logger.save_dir

    @property
    def experiment(self) -> Any:
        """The object of the logger's library, such as the W&B run. After a failure, an object that ignores all calls.

        Lightning reads this property when the training starts.
        """
        return DummyLogger().experiment if self.failed else self.logger.experiment  # type: ignore[attr-defined]

    def open(self, config: Mapping[str, Any]) -> None:
        """Log the config, and print the location of the logs."""

        def start() -> str | None:
            line = self.logger.open() if isinstance(self.logger, WandbLogger) else None
            with connect_once():
                self.logger.log_hyperparams(dict(config))
            place = self.logger.log_dir or self.logger.save_dir
            return line or (None if place is None else f"logs in {place}")

        self.call(start)

    def log_hyperparams(self, *arguments: object, **others: object) -> None:
        """Do nothing, because `open` logs the config."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.call(lambda: self.logger.log_metrics(dict(metrics), step=step))

    def log_end(self, result: Result, run: RunFolder) -> None:
        """Log the final values of a finished run, with the logger's own method ``log_end`` if this method exists."""
        summary = summary_values(result)
        if log_end := getattr(self.logger, "log_end", None):
            self.call(lambda: log_end(summary, result, run))
        else:
            numbers = {key: value for key, value in summary.items() if not isinstance(value, str)}
            self.log_metrics(numbers, step=max(0, result.dev_curve[-1].get("step", 0) - 1))

    def save(self) -> None:
        self.call(self.logger.save)

    def finalize(self, status: str) -> None:
        """Do nothing, because Lightning calls this method before the test score is known. `close` ends the logging."""

    def close(self, outcome: Outcome) -> None:
        """Close the logger's connections and files, and print the logger's message, if any."""
        self.call(lambda: self.logger.finalize(STATUS[outcome]), last=True)

    def call(self, function: Callable[[], Any], *, last: bool = False) -> None:
        if self.failed and not last:
            return
        try:
            with isolate_rng():
                line = function()
        except Exception as error:  # logger libraries raise different exception types
            if not self.failed:
                reason = first_line(error)[:MAX_REASON]
                self.say(f"  The logger {self.key} failed ({reason}). The run continues without it.")
            self.failed = True
        else:
            if isinstance(line, str):
                self.say(f"  {self.key}: {line}")


@contextmanager
def connect_once() -> Iterator[None]:
    """Let MLflow send each request once, with the time limit `CONNECT_S`. Values in the environment have precedence."""
    limits = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(CONNECT_S), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    added = {name: value for name, value in limits.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def build_logger(
    cls: type[Logger], key: str, arguments: Mapping[str, Any], *, folder: Path, labels: Mapping[str, str | None],
    resumed: bool,
) -> Logger:  # fmt: skip
    """Build a logger of a run.

    Args:
        cls: a class that is derived from Lightning's ``Logger``.
        key: the name of the logger in the config. If the class has the argument ``save_dir`` and the config does not
            set this argument, the logger writes to the subfolder ``key`` of the run's folder.
        folder: the run's folder, outputs/<run id>.
        labels: the names of the run's ``method``, ``task`` and ``sweep``, by these keys.
        resumed: whether the run was resumed from a checkpoint.

    Raises:
        KronaError: the logger cannot be built.
    """
    known, given = inspect.signature(cls).parameters, dict(arguments)
    if issubclass(cls, WandbLogger):
        own = {
            "id": wandb_id(folder.name), "name": folder.name, "group": labels["sweep"], "dir": str(folder.parent),
            "tags": [labels["method"], labels["task"]], "resumed": resumed,
        }  # fmt: skip
        given = {**given, **{name: value for name, value in own.items() if given.get(name) is None}}
    elif "save_dir" in known and given.get("save_dir") is None:
        given["save_dir"] = str(folder / key)
        if cls.__name__ in ("CSVLogger", "TensorBoardLogger"):
            given.setdefault("name", "")  # otherwise, the logger would use a subfolder lightning_logs
        if cls.__name__ == "TensorBoardLogger":
            # A resumed run then uses the same folder. CSVLogger would replace the file in this folder.
            given.setdefault("version", "")
    if "run_name" in known:
        given.setdefault("run_name", folder.name)
    try:
        return cls(**given)
    except Exception as error:  # logger classes raise different exception types
        reason = shorten(" ".join(str(error).split()), 300)
        raise KronaError(f"The logger logger.{key} ({cls.__name__}) cannot be built: {reason}") from error


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
