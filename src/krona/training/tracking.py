"""Call the trackers of a run, which log its values, for example at W&B.

Trackers are called when the run starts, after each epoch, and when the run ends.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from torch import Tensor

from krona.config.settings import Run
from krona.config.targets import build, find, is_lightning_logger
from krona.runs.folder import RunFolder
from krona.runs.predictions import label_words
from krona.runs.result import Result
from krona.trackers.lightning import LightningTracker
from krona.trackers.logged_values import History, epoch_values, flat_config, loss_curve, summary_values, with_best
from krona.trackers.tracker import About, Ending, Guarded, Tracker
from krona.training.learner import Learner
from krona.training.update_norms import gradient_norms, update_values


class Trackers(pl.Callback):
    """The Lightning callback that calls a run's trackers. `run` calls ``epoch`` after each epoch."""

    def __init__(self, guarded: list[Guarded], *, about: About, say: Callable[[str], None]) -> None:
        self.guarded, self.about, self.say = guarded, about, say
        self.history = History(about.folder)
        self._gradient_norms: dict[str, Tensor] = {}
        self._logged: dict[str, float] = {}  # the values that Lightning logged in the current epoch

    @property
    def logger(self) -> Logger | None:
        """The logger that Lightning's trainer and its callbacks use. It is None if the run has no trackers."""
        return StepLogger(self.step) if self.guarded else None

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """Send the values that Lightning logs in a step. Values of callbacks are sent again with the epoch's values."""
        self._logged |= values
        if "val/score" not in values:  # the values of dev are sent with the epoch
            self._call("step", number, values, when=f"step {number}")

    def open(self) -> None:
        self._record({"config": dict(self.about.config)})
        self._call("open", self.about, when="start")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Send the values of the epochs that a resumed run has already finished.

        Lightning does not call ``on_train_start`` if all epochs are finished.
        """
        assert isinstance(pl_module, Learner)
        known = self.history.epochs()
        for row, best in with_best(pl_module.dev_curve):
            self._send_epoch(row["epoch"], *(known.get(row["epoch"]) or (epoch_values(row, best), {})))

    def after_backward(self, learner: Learner) -> None:
        """In the last step of an epoch, compute the gradient norms before clipping. The norms remain on the device."""
        ends_run = learner.global_step + 1 >= learner.steps.total  # global_step does not include this step yet
        if self.guarded and (learner.trainer.is_last_batch or ends_run):
            self._gradient_norms = gradient_norms(learner)

    def epoch(self, learner: Learner) -> None:
        """Send the values of the last epoch of the dev curve."""
        if not self.guarded:
            return
        assert learner.best is not None
        row = learner.dev_curve[-1]
        own = ("epoch", "train/loss", "val/score", *(f"val/{name}" for name in row["parts"]))
        values = epoch_values(row, learner.best["dev"]["score"])
        values |= {f"grad_norm/{kind}": float(norm) for kind, norm in self._gradient_norms.items()}
        values |= update_values(learner.model) | {key: self._logged[key] for key in self._logged if key not in own}
        self._gradient_norms, self._logged = {}, {}
        curve = loss_curve(learner.step_losses, last=row["step"], total=learner.steps.total)
        self._record({"epoch": row["epoch"], "values": values, "steps": curve})
        self._send_epoch(row["epoch"], values, curve)

    def end(self, result: Result) -> None:
        summary = summary_values(result)
        self._record({"summary": summary})
        self._call("end", summary, when="the end")

    def close(self, ending: Ending) -> None:
        self._call("close", ending, when="closing")

    def _send_epoch(self, number: int, values: Mapping[str, float], losses: Mapping[int, float]) -> None:
        if losses:
            self._call("steps", losses, when=f"step {min(losses)}")
        self._call("epoch", number, values, when=f"epoch {number}")

    def _call(self, method: str, *arguments: Any, when: str) -> None:
        for tracker in self.guarded:
            tracker.call(method, *arguments, when=when)

    def _record(self, entry: Mapping[str, Any]) -> None:
        if not self.guarded:
            return
        try:
            self.history.add(entry)
        except OSError as error:
            self.say(f"  Could not write {self.history.path.name} ({error.strerror or error}). The run continues.")


class StepLogger(Logger):
    """A Lightning logger that sends all values to ``send``."""

    name, version = "krona", ""

    def __init__(self, send: Callable[[int, Mapping[str, float]], None]) -> None:
        super().__init__()
        self._send = send

    def log_hyperparams(self, *arguments: Any, **others: Any) -> None:
        """Do nothing, because `Trackers.open` sends the hyperparameters."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._send(step or 0, dict(metrics))


@contextmanager
def tracking(settings: Run, result: Result, folder: Path, *, say: Callable[[str], None]) -> Iterator[Trackers]:
    """Open the trackers of a run, and close them when the run ends, even with an error."""
    about = About(
        run_id=result.run_id,
        folder=folder,
        method=settings.method.name,
        task=settings.task.name,
        sweep=settings.sweep,
        config=flat_config(result.config, result.run_id),
        resumed=RunFolder(folder).checkpoint.is_file(),
        label_words=label_words(settings.config["task"]),
    )
    guarded = [Guarded(name, _build_tracker(name, values, about), say=say) for name, values in settings.logger.items()]
    trackers = Trackers(guarded, about=about, say=say)
    ending: Ending = "interrupted"
    try:
        trackers.open()
        yield trackers
        trackers.end(result)
        ending = "done"
    except Exception:
        ending = "failed"
        raise
    finally:
        trackers.close(ending)


def _build_tracker(name: str, values: Mapping[str, Any], about: About) -> Tracker:
    key = f"logger.{name}"
    cls = find(values["_target_"], f"{key}._target_", "tracker", "logger", own=True)
    if is_lightning_logger(cls):
        return LightningTracker(cls, name, {k: value for k, value in values.items() if k != "_target_"}, about)
    tracker: Tracker = build(values, key, "tracker")
    return tracker
