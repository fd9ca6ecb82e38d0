"""Test Lightning's callbacks, schedules, loggers and trainer settings in a run."""

import csv
import math
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch

from krona.config import check
from krona.config.compose import Composed
from krona.config.settings import Scheduler
from krona.messages import KronaError
from krona.runs.folder import RunState
from krona.runs.result import read_result
from krona.training.plan import plan_run, require
from krona.training.schedule import build_schedule
from one_job import config, finish, finish_after_interrupt, run, same_files

CSV = "+logger.c._target_=pytorch_lightning.loggers.CSVLogger"


class Mine(pl.Callback):
    """A user's own callback."""

    def __init__(self, *, stop_after: int) -> None:
        self.stop_after = stop_after

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.log("val/mine", 10.0 + trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert 0 <= float(trainer.callback_metrics["val/score"]) <= 100
        self.log("train/mine", 20.0 + trainer.current_epoch)
        trainer.should_stop = trainer.current_epoch + 1 >= self.stop_after


MINE = [f"+callbacks.mine._target_={__name__}.Mine", "+callbacks.mine.stop_after=2"]
STOPS = ["callbacks=early_stopping", "callbacks.early_stopping.min_delta=101", "callbacks.early_stopping.patience=1"]


def epochs(job: RunState) -> list[int]:
    return [row["epoch"] for row in read_result(job.folder / "result.json").dev_curve]


def ids(overrides: list[str], *changes: str) -> str:
    return plan_run(Composed(config(*overrides, *changes)), Path(), starts=False).run_id


def test_a_callback_stops_a_run_and_its_resumed_run(overrides: list[str], tmp_path: Path) -> None:
    job, _ = finish(tmp_path / "whole", *overrides, *STOPS)
    assert epochs(job) == [1, 2]
    for epoch in (1, 2):  # the second checkpoint contains that the run has ended
        resumed, said = finish_after_interrupt(epoch, tmp_path / f"epoch-{epoch}", *overrides, *STOPS)
        assert f"resumes after epoch {epoch}" in said
        assert epochs(resumed) == [1, 2]
        assert same_files(resumed.folder, job.folder)


@pytest.mark.parametrize(("typed", "used"), [("[[32,24]]", "32x24"), ("[[32,24],[24,32]]", "16x12")])
def test_the_run_id_names_the_shape_that_the_layers_get(typed: str, used: str) -> None:
    """In nano's layers of width 192, A of shape (32,24) fits with a B of shape (6,8), but not with one of (24,32)."""
    words = ["profile=demo", "task=sample_rte", f"method.kron_factors={typed}", "method.fit_factors=nearest"]
    assert f"-{used}-" in ids(words)


def test_the_run_id_depends_on_settings_that_change_results(overrides: list[str]) -> None:
    """tests/runs/test_run_id.py has the other keys."""
    own = ids(overrides)
    for watching in ("callbacks=[lr_monitor]", "~callbacks", "scheduler=linear", "~scheduler", CSV):
        assert ids(overrides, watching) == own
    changing = [STOPS[:1], STOPS[:2], MINE, ["scheduler=cosine"], ["scheduler=constant"]]
    found = [ids(overrides, *changes) for changes in changing]
    assert len({own, *found}) == 1 + len(changing)
    assert ids(overrides, "callbacks=[early_stopping,lr_monitor]") == ids(overrides, "callbacks=early_stopping")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["callbacks=early_stopping", "+callbacks.early_stopping.patince=3"], "did you mean 'patience'"),
        (["callbacks=early_stopping", "callbacks.early_stopping.mode=up"], "cannot be built: `mode` can be"),
        ([f"+callbacks.mine._target_={__name__}.Mine"], "callbacks.mine.stop_after is missing"),
        (["scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau"], "is not supported"),
        (["scheduler._target_=torch.optim.lr_scheduler.OneCycleLR", "+scheduler.max_lr=1",
          "++optimizer.lr_factors.B=2"],
         "sets the learning rate of all weights itself, so optimizer.lr_factors has no effect"),
        (["++optimizer.lr_factors.head=0.1"],
         "optimizer.lr_factors.head=0.1 does not name a group of trained weights: choose from A, B, layer_norms."),
        (["++optimizer.lr_factors.B=0"], "optimizer.lr_factors={'B': 0} item B must be greater than 0"),
    ],
)  # fmt: skip
def test_a_wrong_setting_gives_one_message_before_the_run(typed: list[str], message: str, overrides: list[str]) -> None:
    with pytest.raises(KronaError) as caught:
        require(check.settings(config(*overrides, *typed), own=True))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def rates(scheduler: Scheduler, *, warmup: int, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = build_schedule(optimizer, warmup, steps, scheduler=scheduler)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def torchs(name: str, **arguments: Any) -> Scheduler:
    return Scheduler(target=f"torch.optim.lr_scheduler.{name}", arguments=arguments)


def test_schedules_after_a_linear_warm_up() -> None:
    rise = [0.0, 0.5]
    assert rates(Scheduler(), warmup=2, steps=4) == [*rise, 1.0, 0.5]
    constant = Scheduler(target="transformers.get_constant_schedule_with_warmup")
    assert rates(constant, warmup=2, steps=4) == [*rise, 1.0, 1.0]
    halves = rates(torchs("StepLR", step_size=2, gamma=0.5), warmup=2, steps=8)
    assert halves == pytest.approx([*rise, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25])
    cosine = [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert rates(torchs("CosineAnnealingLR"), warmup=2, steps=6) == pytest.approx([*rise, *cosine])  # krona sets T_max
    assert rates(torchs("CosineAnnealingLR"), warmup=0, steps=4) == pytest.approx(cosine)


def test_a_lightning_logger_gets_steps_epochs_and_summary_after_a_resume(overrides: list[str], tmp_path: Path) -> None:
    chosen = [*overrides, CSV, "trainer.log_every_n_steps=1", "callbacks=lr_monitor"]
    plain, _ = finish(tmp_path / "plain", *overrides)
    job, said = finish_after_interrupt(2, tmp_path, *chosen)
    assert job.run_id == plain.run_id
    assert "failed" not in said
    assert same_files(job.folder, plain.folder)
    result = read_result(job.folder / "result.json")
    files = [job.folder / "c" / f"version_{number}" / "metrics.csv" for number in (0, 1)]  # of both processes
    rows = [row for file in files for row in csv.DictReader(file.read_text().splitlines())]
    scores = [[float(row[key]) for key in ("train/epoch", "step", "dev/score")] for row in rows if row.get("dev/score")]
    assert scores == [[row["epoch"], row["step"] - 1, row["score"]] for row in result.dev_curve]
    assert [float(row["test/score"]) for row in rows if row.get("test/score")] == [result.test["score"]]
    losses = [int(row["step"]) for row in rows if row["train/step_loss"]]
    assert losses == list(range(result.dev_curve[-1]["step"]))
    assert any(row["lr-AdamW"] for row in rows)
    assert "optimizer/lr: 0.03" in (files[1].with_name("hparams.yaml")).read_text()


def test_a_logger_gets_the_values_that_a_callback_logs_at_the_end_of_an_epoch(
    overrides: list[str], tmp_path: Path
) -> None:
    job, _ = finish(tmp_path, *overrides, *MINE, CSV)
    rows = list(csv.DictReader((job.folder / "c" / "version_0" / "metrics.csv").read_text().splitlines()))
    for key, values in {"val/mine": [10, 11], "train/mine": [20, 21]}.items():
        assert [(int(row["epoch"]), float(row[key])) for row in rows if row[key]] == list(enumerate(values))


def test_a_logger_that_can_t_be_constructed_stops_the_run_before_it_trains(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = Mock(side_effect=ModuleNotFoundError("pip install this"))
    monkeypatch.setattr("pytorch_lightning.loggers.CSVLogger.__init__", fail)
    chosen = ["~logger", "++logger.c._target_=pytorch_lightning.loggers.CSVLogger", "++logger.c.save_dir=x"]
    job, said = run(config(*overrides, *chosen), tmp_path)
    assert job.state == "failed"
    assert job.error == "The logger logger.c (CSVLogger) cannot be built: pip install this"
    assert "epoch" not in said


def test_accumulated_batches(overrides: list[str], tmp_path: Path) -> None:
    overrides = [*overrides, "trainer.max_epochs=1"]
    both = ["batch_size=2", "trainer.accumulate_grad_batches=2", "trainer.limit_train_batches=3"]
    steps = read_result(finish(tmp_path, *overrides, *both)[0].folder / "result.json").dev_curve
    assert [(row["step"], row["examples_seen"]) for row in steps] == [(2, 6)]  # as Lightning does
    summed, _ = finish(tmp_path, *overrides, "batch_size=2", "trainer.accumulate_grad_batches=2")
    whole, _ = finish(tmp_path, *overrides, "batch_size=4", "micro_batch_size=2")
    assert summed.run_id != whole.run_id
    losses = [[row["loss"] for row in read_result(job.folder / "result.json").dev_curve] for job in (summed, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # sums in fp32, over 3 steps of AdamW


def test_fast_dev_run_uses_one_batch_and_saves_nothing(overrides: list[str], tmp_path: Path) -> None:
    job, said = run(config(*overrides, "trainer.fast_dev_run=true", "trainer.eval_batch_size=2"), tmp_path)
    assert (job.state, job.error, job.result) == ("done", None, None)
    assert "rows of train / dev / test: 4 / 2 / 2; 1 step of 4" in said
    assert "No files were kept" in said
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KronaError, match="Remove -m"):
        run(config(*overrides, "trainer.fast_dev_run=true"), tmp_path, multirun=True)


@pytest.mark.parametrize(("error", "message"), [(KronaError("bad row"), "bad row"), (OSError("x"), "OSError: x")])
def test_fast_dev_run_shows_the_trace_of_an_unexpected_error_only(
    error: Exception, message: str, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krona.training.run.train", Mock(side_effect=error))
    job, said = run(config(*overrides, "trainer.fast_dev_run=true"), tmp_path)
    assert (job.state, job.error) == ("failed", message)
    assert ("Traceback" in said) is isinstance(error, OSError)
