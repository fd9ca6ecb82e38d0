"""Show the progress of a run on the console and in train.log, and send its values to Lightning's loggers."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor, nn

from krona.config.settings import RunSettings
from krona.config.target_classes import find_class
from krona.formatting import duration, rate, say
from krona.messages import plural
from krona.runs.folder import RunFolder
from krona.runs.result import Result
from krona.surgery.layers import is_in_adapter, is_norm
from krona.trackers.loggers import GuardedLogger, Outcome, build_logger, epoch_values, flat_config
from krona.training.learner import Learner
from krona.training.schedule import StepCounts

NARROW = 70  # columns; a narrower console shows only the number of steps and the remaining time
ESTIMATE_STEPS, ESTIMATE_S = 3, 3.0  # the time is estimated after this number of steps and seconds
MIN_ESTIMATE_S = 60  # a shorter time is not announced
REFRESH_S = 0.5  # minimum time between two updates of the bar, because an update reads the loss from the device


def format_estimate(run_s: float, runs: int) -> str:
    """Return how long a run and all runs of the command will take, or an empty text if this is less than a minute."""
    if run_s * runs < MIN_ESTIMATE_S:
        return ""
    others = f", {duration(run_s * runs)} for all {runs} runs" if runs > 1 else ""
    return f"about {duration(run_s)} for this run{others}"


class Progress(pl.Callback):
    """The Lightning callback that prints the progress of one run to the console and to ``log`` (train.log).

    In a sweep, ``shows_notes`` is true only for the first run, because the sweep prints other notes at its end.
    ``runs_left`` is that of the `Plan`.
    """

    def __init__(
        self, console: Console, log: TextIO | None = None, *, shows_notes: bool = True, runs_left: int = 1
    ) -> None:
        self.console, self.train_log, self.shows_notes, self.runs_left = console, log, shows_notes, runs_left
        self._bar: Bar | None = None
        self._last_refresh, self._examples, self._epochs = 0.0, 0, 0

    def say(self, text: str) -> None:
        """Print a line to the console and to train.log."""
        say(self.console, text)
        self.write(text)

    def write(self, text: str) -> None:
        """Write a line to train.log only."""
        if self.train_log is not None:
            self.train_log.write(text + "\n")
            self.train_log.flush()

    def note(self, text: str) -> None:
        """Write a note to train.log and, if ``shows_notes``, print it."""
        (self.say if self.shows_notes else self.write)(f"  note: {text}")

    def begin(self, settings: RunSettings, result: Result, *, steps: StepCounts) -> None:
        """Print the first lines of the run."""
        rows = " / ".join(f"{result.splits[name]['rows']:,}" for name in ("train", "dev", "test"))
        factors = ", ".join(f"{group} × {factor:g}" for group, factor in settings.optimizer.lr_factors.items())
        head = f" and a new head of {result.head_params:,}" if result.head_params else ""
        self.say(
            f"{settings.method.name} on {settings.task.name}: {result.trainable_params:,} trainable parameters "
            f"({result.trainable_percent:.4g} % of {settings.backbone.name}){head}; "
            f"rows of train / dev / test: {rows}; {plural(steps.total, 'step')} of "
            f"{plural(settings.step_rows, 'row')}, lr {settings.optimizer.lr:g}{factors and f' ({factors})'} after "
            f"{plural(steps.warmup, 'step')} of warm-up"
        )
        for note in result.notes:
            self.note(note)
        self._steps, self._epochs = steps.total, settings.trainer.max_epochs
        self._rows, self._step_rows = [int(result.splits[name]["rows"]) for name in ("dev", "test")], settings.step_rows
        self._shows_bar = settings.trainer.enable_progress_bar

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step:
            self.say(f"  The run resumes after epoch {trainer.current_epoch}, step {trainer.global_step:,}.")
        batches = max(1, int(trainer.num_training_batches))
        self._epochs = min(self._epochs, -(-self._steps // batches))  # max_steps may end the run earlier
        self._first_steps = list[float]()
        other_bar = trainer.progress_bar_callback is not None
        if other_bar or not self._shows_bar or not self.console.is_terminal or self.console.is_dumb_terminal:
            return
        wide = (TextColumn("  {task.description}"), BarColumn(bar_width=None))
        columns = (*(wide if self.console.width >= NARROW else ()), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=self.console, transient=True)
        self._task = self._bar.add_task("training", total=self._steps, completed=trainer.global_step)
        self._bar.start()
        self._began, self._examples = time.perf_counter(), 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.runs_left:
            self._estimate()
        if self._bar is None:
            return
        self._examples += len(batch["labels"]) * pl_module.ranks.size  # approximate: ranks may differ by one row
        now = time.perf_counter()
        if now - self._last_refresh < REFRESH_S:
            return
        self._last_refresh = now
        schedule: Any = pl_module.lr_schedulers()
        self._bar.update(
            self._task,
            completed=trainer.global_step,
            description=f"loss {float(outputs['loss']):.4f}  lr {schedule.get_last_lr()[0]:.2e}  "
            f"{rate(self._examples / (now - self._began))}",
        )

    def _estimate(self) -> None:
        """After the first steps, print how long the command will take."""
        self._first_steps.append(time.perf_counter())
        count, seconds = len(self._first_steps) - 1, self._first_steps[-1] - self._first_steps[0]
        if count >= ESTIMATE_STEPS and seconds >= ESTIMATE_S:
            dev, test = self._rows
            # A forward pass takes about a third of a step.
            evaluation_steps = (dev * self._epochs + test) / self._step_rows / 3
            line = format_estimate(seconds / count * (self._steps + evaluation_steps), self.runs_left)
            self.runs_left = 0
            if line:
                self.say(f"  {line}")

    def epoch(self, learner: Learner) -> None:
        """Print a line about the learner's last recorded epoch."""
        row = learner.dev_curve[-1]
        best = "  best" if learner.best is not None and learner.best["epoch"] == row["epoch"] else ""
        parts = "" if len(row["parts"]) < 2 else " (" + ", ".join(f"{k} {v:.2f}" for k, v in row["parts"].items()) + ")"
        self.say(
            f"  epoch {row['epoch']:>2}/{self._epochs}  loss {row['loss']:.4f}  dev {row['score']:.2f}{parts}  "
            f"lr {row['lr']:.2e}  {rate(row['examples_per_s'])}{best}"
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.close()

    def close(self) -> None:
        """Remove the progress bar from the screen. Call this after an error, too."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Tracking(pl.Callback):
    """Logs the values of each epoch and the final values. `krona.training.run.train` calls ``epoch`` after each epoch.

    With the same loggers, Lightning itself logs the loss of the steps and the values of other callbacks.
    """

    def __init__(self, loggers: list[GuardedLogger]) -> None:
        self.loggers = loggers
        self._gradient_norms: dict[str, Tensor] = {}

    def after_backward(self, learner: Learner) -> None:
        """In the last step of an epoch, compute the gradient norms before clipping. The norms remain on the device."""
        ends_run = learner.global_step + 1 >= learner.steps.total  # global_step does not include this step yet
        if self.loggers and (learner.trainer.is_last_batch or ends_run):
            self._gradient_norms = gradient_norms(learner)

    def epoch(self, learner: Learner) -> None:
        """Log the values of the learner's last recorded epoch."""
        if not self.loggers:
            return
        assert learner.best is not None
        row = learner.dev_curve[-1]
        values = epoch_values(row, learner.best["dev"]["score"])
        values |= {f"grad_norm/{kind}": float(norm) for kind, norm in self._gradient_norms.items()}
        self._gradient_norms = {}
        for logger in self.loggers:
            logger.log_metrics(values, step=max(0, row["step"] - 1))
            logger.save()

    def end(self, result: Result, folder: Path) -> None:
        """Log the final values of a finished run, whose files are in ``folder``."""
        for logger in self.loggers:
            logger.log_end(result, RunFolder(folder))


@contextmanager
def open_loggers(
    settings: RunSettings, result: Result, folder: Path, *, say: Callable[[str], None]
) -> Iterator[Tracking]:
    """Open the loggers of a run, and close them when the run ends, even after an error."""
    labels = {"method": settings.method.name, "task": settings.task.name, "sweep": settings.sweep}
    loggers = []
    for key, values in settings.logger.items():
        cls = find_class(values["_target_"], f"logger.{key}._target_", "tracker", "logger")
        arguments = {name: value for name, value in values.items() if name != "_target_"}
        resumed = RunFolder(folder).checkpoint.is_file()
        logger = build_logger(cls, key, arguments, folder=folder, labels=labels, resumed=resumed)
        loggers.append(GuardedLogger(key, logger, say=say))
    outcome: Outcome = "interrupted"
    try:
        for guarded in loggers:
            guarded.open(flat_config(result.config, result.run_id))
        callback = Tracking(loggers)
        yield callback
        callback.end(result, folder)
        outcome = "done"
    except Exception:
        outcome = "failed"
        raise
    finally:
        for guarded in loggers:
            guarded.close(outcome)


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """Return the Euclidean norm of the gradients by kind of parameter.

    The kind of a branch's parameter is its name in the branch, such as ``A``, ``B`` or ``bias``. The kinds of the
    backbone's parameters are ``layer_norm`` and ``other``. The norms are tensors on the device of the gradients, so the
    CPU does not have to wait for the GPU.
    """
    by_kind: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            module, _, last = name.rpartition(".")
            kind = "layer_norm" if is_norm(model.get_submodule(module)) else "other"
            gradients = by_kind.setdefault(last if is_in_adapter(name) else kind, [])
            gradients.append(parameter.grad.detach().float())
    return {kind: torch.nn.utils.get_total_norm(gradients) for kind, gradients in by_kind.items()}
