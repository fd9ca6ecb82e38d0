"""The trackers of a run, called at its start, after each epoch and at its end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from krona.config.check import locate
from krona.config.settings import Run
from krona.outputs.result import Result
from krona.trackers import update_norms
from krona.trackers.guard import Guarded
from krona.trackers.tracker import About, Ending
from krona.trackers.values import History, epoch_values, flat_config, summary_values, with_best
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

    def open(self) -> None:
        if not self.guarded:
            return
        self._write(lambda: self.history.add({"config": dict(self.about.config)}))
        for tracker in self.guarded:
            tracker.open(self.about)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Send a resumed run's earlier epochs."""
        if not self.guarded or not isinstance(pl_module, Learner):
            return
        known = self.history.epochs()
        for row, best in with_best(pl_module.dev_curve):
            values = known.get(row["epoch"]) or epoch_values(row, best)
            for tracker in self.guarded:
                tracker.epoch(row["epoch"], values)

    def after_backward(self, learner: Learner) -> None:
        """The gradients of an epoch's last step, before clipping; they stay on their device."""
        if not self.guarded:
            return
        if learner.trainer.is_last_batch or learner.global_step + 1 >= learner.total_steps:  # this step is not counted
            self._gradients = update_norms.gradient_norms(learner)

    def epoch(self, learner: Learner) -> None:
        """Send the epoch that the learner has just recorded."""
        if self.guarded:
            self._send(learner)
        if self.after_epoch is not None:
            self.after_epoch(learner)

    def _send(self, learner: Learner) -> None:
        assert learner.best is not None
        row = learner.dev_curve[-1]
        values = epoch_values(row, learner.best["dev"]["score"])
        values |= {f"grad_norm/{kind}": float(norm) for kind, norm in self._gradients.items()}
        self._gradients = {}
        values |= update_norms.updates(learner.model)
        self._write(lambda: self.history.add({"epoch": row["epoch"], "values": values}))
        for tracker in self.guarded:
            tracker.epoch(row["epoch"], values)

    def end(self, result: Result) -> None:
        if not self.guarded:
            return
        summary = summary_values(result)
        self._write(lambda: self.history.add({"summary": summary}))
        for tracker in self.guarded:
            tracker.end(summary)

    def close(self, ending: Ending) -> None:
        for tracker in self.guarded:
            tracker.close(ending)

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self.say(f"  {self.history.path.name} can't be written ({error.strerror or error}); the run continues")


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
        resumed=(folder / "last.ckpt").is_file(),
    )
    chosen = settings.trackers if not getattr(rank_zero_only, "rank", 0) else {}  # of several processes only the first
    guarded = [Guarded(name, build(name, values), say=say) for name, values in chosen.items()]
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


def build(name: str, values: Mapping[str, Any]) -> Any:
    arguments = dict(values)
    return locate(arguments.pop("_target_"), f"logger.{name}._target_")(**arguments)
