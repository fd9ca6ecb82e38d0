"""The trackers of a run, called at its start, after each epoch and at its end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from krona.config.check import is_lightning_logger
from krona.config.settings import Run
from krona.config.targets import build, find
from krona.runs.folder import RunFolder
from krona.runs.predictions import label_words
from krona.runs.result import Result
from krona.trackers import update_norms
from krona.trackers.guard import Guarded
from krona.trackers.lightning import OtherLogger
from krona.trackers.tracker import About, Ending
from krona.trackers.values import History, epoch_values, flat_config, loss_curve, summary_values, with_best
from krona.training.learner import Learner

AfterEpoch = Callable[[Learner], None]  # what it raises stops the run


class Trackers(pl.Callback):
    """The trackers of one run; without any, every call does nothing but ``after_epoch``."""

    def __init__(
        self, guarded: list[Guarded], *, about: About, say: Callable[[str], None], after_epoch: AfterEpoch | None = None
    ) -> None:
        self.guarded, self.about, self.say, self.after_epoch = guarded, about, say, after_epoch
        self.history = History(about.folder)
        self._gradients: dict[str, Tensor] = {}
        self._logged: dict[str, float] = {}  # by callbacks, since the last epoch

    @property
    def logger(self) -> Logger | None:
        """What Lightning's trainer and its callbacks log to; None without trackers."""
        return Steps(self.step) if self.guarded else None

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """Send a step's values to the trackers that take them; a callback's belong to its epoch too."""
        self._logged |= {key: value for key, value in values.items() if key not in ("epoch", "train/loss")}
        for tracker in self.guarded:
            tracker.step(number, values)

    def open(self) -> None:
        if self.guarded:
            self._record({"config": dict(self.about.config)})
        for tracker in self.guarded:
            tracker.open(self.about)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Send a resumed run's earlier epochs."""
        if not self.guarded or not isinstance(pl_module, Learner):
            return
        known = self.history.epochs()
        for row, best in with_best(pl_module.dev_curve):
            values, curve = known.get(row["epoch"]) or (epoch_values(row, best), {})
            for tracker in self.guarded:
                tracker.epoch(row["epoch"], values, curve)

    def after_backward(self, learner: Learner) -> None:
        """Keep the gradient norms of an epoch's last step, before clipping, on their device."""
        if not self.guarded:
            return
        last = learner.global_step + 1 >= learner.plan.total_steps  # this step is not counted
        if learner.trainer.is_last_batch or last:
            self._gradients = update_norms.gradient_norms(learner)

    def epoch(self, learner: Learner) -> None:
        """Send the epoch that the learner has just recorded."""
        if self.guarded:
            assert learner.best is not None
            row = learner.dev_curve[-1]
            values = epoch_values(row, learner.best["dev"]["score"])
            values |= {f"grad_norm/{kind}": float(norm) for kind, norm in self._gradients.items()}
            values |= update_norms.updates(learner.model) | self._logged
            self._gradients, self._logged = {}, {}
            curve = loss_curve(learner.step_losses, last=row["step"], total=learner.plan.total_steps)
            self._record({"epoch": row["epoch"], "values": values, "steps": curve})
            for tracker in self.guarded:
                tracker.epoch(row["epoch"], values, curve)
        if self.after_epoch is not None:
            self.after_epoch(learner)

    def end(self, result: Result) -> None:
        if not self.guarded:
            return
        summary = summary_values(result)
        self._record({"summary": summary})
        for tracker in self.guarded:
            tracker.end(summary)

    def close(self, ending: Ending) -> None:
        for tracker in self.guarded:
            tracker.close(ending)

    def _record(self, entry: Mapping[str, Any]) -> None:
        try:
            self.history.add(entry)
        except OSError as error:
            self.say(f"  {self.history.path.name} can't be written ({error.strerror or error}); the run continues")


class Steps(Logger):
    """The logger of Lightning's trainer: passes on what steps and callbacks log. Epochs have `Trackers.epoch`."""

    name, version = "krona", ""

    def __init__(self, send: Callable[[int, Mapping[str, float]], None]) -> None:
        super().__init__()
        self._send = send

    def log_hyperparams(self, *arguments: Any, **others: Any) -> None:
        """`Trackers.open` sends them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "val/score" not in metrics:  # an epoch's: a resumed run sends those of its earlier epochs too
            self._send(step or 0, dict(metrics))


@contextmanager
def tracking(
    settings: Run, result: Result, folder: Path, *, say: Callable[[str], None], after_epoch: AfterEpoch | None = None
) -> Iterator[Trackers]:
    """The trackers of a run, closed however it ends."""
    about = About(
        run_id=result.run_id,
        folder=folder,
        method=settings.method.name,
        task=settings.task.name,
        sweep=settings.sweep,
        config=flat_config(result.config, result.run_id) if settings.trackers else {},
        resumed=RunFolder(folder).checkpoint.is_file(),
        label_words=label_words(settings.config["task"]),
    )
    chosen = settings.trackers if not getattr(rank_zero_only, "rank", 0) else {}  # of several processes only the first
    guarded = [Guarded(name, _tracker(name, values, about), say=say) for name, values in chosen.items()]
    trackers = Trackers(guarded, about=about, say=say, after_epoch=after_epoch)
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


def _tracker(name: str, values: Mapping[str, Any], about: About) -> Any:
    where = f"logger.{name}"
    found = find(values["_target_"], f"{where}._target_", "tracker", "logger", own=True)
    if is_lightning_logger(found):
        return OtherLogger(found, name, {key: values[key] for key in values if key != "_target_"}, about)
    return build(values, where, "tracker", own=True)
