"""Test the values that loggers get for an epoch, and TensorBoard and MLflow with their own readers."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytorch_lightning.loggers import Logger
from tests.tiny_t5 import inserted
from tests.trackers.one_run import one_run
from tests.training.test_learner import fit, learner

from krona.paths import CONF
from krona.runs.result import read_result
from krona.trackers.loggers import GuardedLogger
from krona.training.learner import Learner
from krona.training.progress import Tracking, gradient_norms
from krona.training.trainer import AfterEpoch


class Recorder(Logger):
    """A logger that stores all values."""

    name, version = "recorder", None

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_hyperparams(self, *arguments: Any, **others: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step or 0, dict(metrics)))


def recorded() -> tuple[Tracking, Recorder]:
    recorder = Recorder()
    return Tracking([GuardedLogger("recorder", recorder, say=print)]), recorder


def logged_gradients(values: dict[str, float]) -> dict[str, float]:
    return {key.removeprefix("grad_norm/"): value for key, value in values.items() if key.startswith("grad_norm/")}


@pytest.mark.parametrize(("steps", "last"), [(6, [3, 6]), (5, [3, 5]), (2, [2])])
def test_gradient_norms_are_those_of_the_last_step_of_the_epoch(steps: int, last: list[int], tmp_path: Path) -> None:
    tracking, recorder = recorded()
    norms: list[dict[str, float]] = []

    def after_backward(of: Learner) -> None:
        norms.append({kind: float(norm) for kind, norm in gradient_norms(of).items()})
        tracking.after_backward(of)

    tuned = learner(
        inserted("krona"),
        total=steps,  # an epoch has three steps; trainer.max_steps may end a run within an epoch
        warmup=0,
    )
    tuned.after_backward = after_backward
    fit(tuned, tmp_path, callbacks=[tracking, AfterEpoch(tracking.epoch)])
    assert [row["step"] for row in tuned.dev_curve] == last
    assert len({str(one) for one in norms}) == steps
    assert [step for step, _ in recorder.rows] == [step - 1 for step in last]
    assert [logged_gradients(values) for _, values in recorder.rows] == [norms[step - 1] for step in last]


# MRPC: tables show F1, and the mean of F1 and accuracy chooses the epoch
EPOCHS = [(80.0, 70.0), (84.0, 60.0), (82.0, 69.0), (81.0, 70.0)]


def test_dev_best_is_the_score_of_the_chosen_epoch() -> None:
    tracking, recorder = recorded()
    live = learner(inserted("krona"))
    for number, (f1, accuracy) in enumerate(EPOCHS, start=1):
        parts = {"f1": f1, "accuracy": accuracy}
        live.record(
            {"epoch": number, "step": number},
            {"score": f1, "choice": (f1 + accuracy) / 2, "parts": parts, "predictions": []},
        )
        tracking.epoch(live)
    assert [values["dev/best"] for _, values in recorder.rows] == [80.0, 80.0, 82.0, 82.0]


def test_the_logger_of_the_documentation_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (CONF.parent / "docs" / "tracking.md").read_text(encoding="utf-8").split("## A logger of your own")[1]
    code, config = (re.search(rf"```{kind}\n(.*?)```", page, flags=re.DOTALL).group(1) for kind in ("python", "yaml"))
    (tmp_path / "scores.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    (values,) = yaml.safe_load(config).values()
    job, lines = one_run(tmp_path, *(f"++logger.scores.{key}={value}" for key, value in values.items()))
    assert job.state == "done"
    assert any("scores: logs in" in line for line in lines)
    curve = [f"{row['step'] - 1} {row['score']:.2f}" for row in read_result(job.folder / "result.json").dev_curve]
    assert (job.folder / "scores" / "scores.txt").read_text().splitlines() == curve


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_mlflow(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="pip install .[mlflow]")
    pytest.importorskip("sqlalchemy", reason="pip install .[mlflow]")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    job, lines = one_run(tmp_path, "logger=mlflow", f"logger.mlflow.tracking_uri={uri}")
    assert not [line for line in lines if "failed" in line]
    client = tracking.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("krona").experiment_id])
    result = read_result(job.folder / "result.json")
    assert (run.info.status, run.info.run_name) == ("FINISHED", result.run_id)
    assert (run.data.params["method"], run.data.metrics["test/score"]) == ("krona", result.test["score"])
    scores = client.get_metric_history(run.info.run_id, "dev/score")
    assert [metric.value for metric in scores] == pytest.approx([row["score"] for row in result.dev_curve])
