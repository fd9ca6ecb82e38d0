"""Log the values of a run with Lightning's loggers: W&B, TensorBoard, MLflow or any other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from krona.config.settings import RunSettings
from krona.config.target_classes import find_class
from krona.runs.folder import RunFolder
from krona.runs.result import Result
from krona.surgery.layers import is_norm
from krona.surgery.wrapper import is_in_adapter
from krona.trackers.loggers import GuardedLogger, Outcome, build_logger, epoch_values, flat_config
from krona.training.learner import Learner


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
    gradients = []
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            module, _, last = name.rpartition(".")
            kind = "layer_norm" if is_norm(model.get_submodule(module)) else "other"
            gradients.append((last if is_in_adapter(name) else kind, parameter.grad))
    squares: dict[str, list[Tensor]] = {}
    for kind, gradient in gradients:
        squares.setdefault(kind, []).append(gradient.detach().float().pow(2).sum())
    return {kind: torch.stack(parts).sum().sqrt() for kind, parts in squares.items()}
