"""MLflow through Lightning's logger: an SQLite file in outputs/, or a server of your own."""

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from krona.messages import plain_name
from krona.outputs.folder import RunFolder
from krona.trackers.tracker import About, Ending, Value, require
from krona.trackers.values import STEP_LOSS, final_numbers, predictions

TAG = "krona.run_id"
STATUS: dict[Ending, str] = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflow:
    """An MLflow run, found again by the tag ``krona.run_id``; a run that starts anew replaces the old one.

    Args:
        experiment: of MLflow; created if it is new.
        tracking_uri: null: ``sqlite:///<outputs>/mlflow.db``.
        log_adapter: keep adapter.safetensors as an artifact.
    """

    def __init__(
        self, *, experiment: str = "krona", tracking_uri: str | None = None, log_adapter: bool = False
    ) -> None:
        self.experiment, self.tracking_uri, self.log_adapter = experiment, tracking_uri, log_adapter
        self._logger: Any = None

    @staticmethod
    def check(arguments: Mapping[str, Any]) -> None:
        require("mlflow", logger="mlflow", extra="mlflow")
        require("sqlalchemy", logger="mlflow", extra="mlflow")
        plain_name("logger.mlflow.experiment", arguments.get("experiment"), forbidden="/:'\"")

    def open(self, about: About) -> str:
        from mlflow.tracking import MlflowClient
        from pytorch_lightning.loggers import MLFlowLogger

        for noisy in ("mlflow", "alembic"):  # they log each table that they create
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self.about = about
        uri = self.tracking_uri or f"sqlite:///{about.outputs / 'mlflow.db'}"
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(self.experiment)
        self._experiment_id = (
            experiment.experiment_id
            if experiment is not None
            else client.create_experiment(self.experiment, artifact_location=str(about.outputs / "mlflow"))
        )
        earlier = list(client.search_runs([self._experiment_id], f"tags.`{TAG}` = '{about.run_id}'"))
        if not about.resumed:
            for run in earlier:
                client.delete_run(run.info.run_id)
            earlier = []
        tags = {TAG: about.run_id, "method": about.method, "task": about.task, "sweep": about.sweep or ""}
        self._logger = MLFlowLogger(
            self.experiment,
            run_name=about.run_id,
            tracking_uri=uri,
            tags=tags,
            run_id=earlier[0].info.run_id if earlier else None,
        )
        self._logged: set[int] = set()  # epochs
        self._last_step = 0
        if earlier:
            self._logged = {m.step for m in client.get_metric_history(earlier[0].info.run_id, "epoch")}
            told = client.get_metric_history(earlier[0].info.run_id, STEP_LOSS)
            self._last_step = max((m.step for m in told), default=0)
        else:
            self._logger.log_hyperparams(dict(about.config))
        return f"mlflow ui --backend-store-uri {uri}"

    def steps(self, losses: Mapping[int, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(STEP_LOSS, loss, now, step) for step, loss in losses.items() if step > self._last_step]
        self._logger.experiment.log_batch(self._logger.run_id, metrics=metrics)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        if number not in self._logged:  # a resumed run logs its earlier epochs again
            self._logger.log_metrics(dict(values), step=number)
            self._logged.add(number)

    def end(self, summary: Mapping[str, Value]) -> None:
        client, run_id = self._logger.experiment, self._logger.run_id
        self._logger.log_metrics(final_numbers(summary))
        columns, rows = predictions(self.about.folder, self.about.label_words, most=10_000)
        client.log_text(run_id, json.dumps({"columns": columns, "data": rows}), "test_predictions.json")
        adapter = RunFolder(self.about.folder).adapter
        if self.log_adapter and adapter.is_file():
            client.log_artifact(run_id, str(adapter))

    def close(self, ending: Ending) -> str | None:
        if self._logger is not None:
            self._logger.finalize(STATUS[ending])
        return None
