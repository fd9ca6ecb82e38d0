"""The tracker for MLflow, which writes to an SQLite file in outputs/ or to your own server."""

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from krona.messages import check_name
from krona.runs.folder import RunFolder
from krona.trackers.lightning import LightningTracker
from krona.trackers.tracker import Ending, Value, require
from krona.trackers.values import PREDICTION_COLUMNS, STEP_LOSS, read_predictions

TAG = "krona.run_id"
MAX_PREDICTIONS = 10_000


class MLflow(LightningTracker):
    """A tracker that logs to an MLflow run.

    If the krona run is resumed, the MLflow run is continued. If the krona run starts again from the beginning, a new
    MLflow run replaces the old one.

    Args:
        experiment: the name of the MLflow experiment. It is created if it does not exist.
        tracking_uri: the address of MLflow. None (null in YAML) means ``sqlite:///<outputs>/mlflow.db``.
        log_adapter: whether to log adapter.safetensors as an artifact.
    """

    STATUS: Mapping[Ending, str] = {"done": "success", "failed": "failed", "interrupted": "KILLED"}

    def __init__(
        self, *, experiment: str = "krona", tracking_uri: str | None = None, log_adapter: bool = False
    ) -> None:
        self.experiment, self.tracking_uri, self.log_adapter = experiment, tracking_uri, log_adapter

    @staticmethod
    def check(arguments: Mapping[str, Any]) -> None:
        require("mlflow", logger="mlflow", extra="mlflow")
        require("sqlalchemy", logger="mlflow", extra="mlflow")
        check_name("logger.mlflow.experiment", arguments.get("experiment"), forbidden="/:'\"")

    def start(self) -> str:
        from mlflow.tracking import MlflowClient
        from pytorch_lightning.loggers import MLFlowLogger

        for noisy in ("mlflow", "alembic", "pytorch_lightning.loggers.mlflow"):  # hide their information messages
            logging.getLogger(noisy).setLevel(logging.ERROR)
        about = self.about
        uri = self.tracking_uri or f"sqlite:///{about.outputs / 'mlflow.db'}"
        # Find the interrupted MLflow run to continue it. Lightning's logger alone would start a second MLflow run.
        client = MlflowClient(uri)
        known = client.get_experiment_by_name(self.experiment)
        runs = [] if known is None else client.search_runs([known.experiment_id], f"tags.`{TAG}` = '{about.run_id}'")
        earlier = [run.info.run_id for run in runs]
        if not about.resumed:
            for run_id in earlier:
                client.delete_run(run_id)
            earlier = []
        self.logger = MLFlowLogger(
            self.experiment,
            run_name=about.run_id,
            tracking_uri=uri,
            tags={TAG: about.run_id, "method": about.method, "task": about.task, "sweep": about.sweep or ""},
            artifact_location=str(about.outputs / "mlflow"),
            run_id=earlier[0] if earlier else None,
        )
        if earlier:
            self.first = max((row.step + 1 for row in client.get_metric_history(earlier[0], "epoch")), default=0)
        return f"mlflow ui --backend-store-uri {uri}"

    def steps(self, losses: Mapping[int, float]) -> None:
        """Log all points of the loss curve in one request."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(STEP_LOSS, loss, now, step - 1) for step, loss in losses.items() if step > self.first]
        self.logger.experiment.log_batch(self.logger.run_id, metrics=points)

    def end(self, summary: Mapping[str, Value]) -> None:
        super().end(summary)
        client, run_id = self.logger.experiment, self.logger.run_id
        table = {"columns": PREDICTION_COLUMNS, "data": read_predictions(self.about, most=MAX_PREDICTIONS)}
        client.log_text(run_id, json.dumps(table), "test_predictions.json")
        adapter = RunFolder(self.about.folder).adapter
        if self.log_adapter and adapter.is_file():
            client.log_artifact(run_id, str(adapter))
