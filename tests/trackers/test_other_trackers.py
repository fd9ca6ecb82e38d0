"""Test TensorBoard and MLflow after an interruption, with their own readers."""

from pathlib import Path
from typing import Any

import pytest
from tests.trackers.conftest import same_training
from tests.trackers.one_run import one_run

from krona.jobs.interrupts import Interrupted
from krona.runs.result import read_result


def interrupt(learner: Any) -> None:
    raise Interrupted


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_interrupted_and_resumed(tmp_path: Path, plain: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="pip install .[tensorboard]"
    )
    tracking = pytest.importorskip("mlflow.tracking", reason="pip install .[mlflow]")
    pytest.importorskip("sqlalchemy", reason="pip install .[mlflow]")
    loggers = "logger=[tensorboard,mlflow]"
    with pytest.raises(Interrupted):
        one_run(tmp_path, loggers, after_epoch=interrupt)
    job, lines = one_run(tmp_path, loggers)
    assert not [line for line in lines if "failed" in line]
    same_training(plain, job.folder)
    result = read_result(job.folder / "result.json")
    assert result.test is not None

    events = reader.EventAccumulator(str(job.folder / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("val/score")] == [1, 3]
    scores = [event.value for event in events.Scalars("val/score")]
    assert scores == pytest.approx([row["score"] for row in result.dev_curve])

    client = tracking.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("krona").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["method"] == "krona"
    assert run.data.metrics["test/score"] == result.test["score"]
    told = client.get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in told] == [1, 3]
    assert [metric.value for metric in told] == [row["loss"] for row in result.dev_curve]
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "train/step_loss")] == [0, 1, 2, 3]
