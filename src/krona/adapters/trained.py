"""Load a trained adapter and its backbone: `krona.load`."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from krona.adapters.evaluate import Evaluation, RowChoice, evaluate
from krona.adapters.export import export
from krona.adapters.find import TrainedRun, find
from krona.adapters.predictor import Prediction, Predictor, Row, load_predictor
from krona.runs.result import Result
from krona.surgery.merging import bake


class Trained(Predictor):
    """A model that contains a trained adapter, and the run that trained the adapter."""

    def predict(self, rows: Iterable[Row] | Row, *, batch_size: int = 64) -> list[Prediction]:
        """Return the predictions for rows, in the order of the rows.

        Args:
            rows: a list or a DataFrame of rows, or a single row. A row maps column names to texts, or is a list of
                texts in the order of the task's columns. If the task has one column, a row can be a string.
            batch_size: the number of rows in a batch. Rows of similar length are batched together.

        Raises:
            KronaError: a row lacks a column or has the wrong number of texts, or a value is not text.
        """
        if isinstance(rows, str | Mapping):
            rows = [rows]
        return self.predict_split(self.make_split(_records(rows)), batch_size=batch_size)

    def merge(self) -> PreTrainedModel:
        """Merge the adapter into the weights permanently, and return the model."""
        if self.run.adapter is not None:
            bake(self.model)
        return self.model

    def evaluate(self, rows: Iterable[Mapping[str, Any]] | None = None, *, split: str = "test") -> Evaluation:
        """Return the scores on labelled rows, or on a split of the run's data, with a confidence interval.

        Args:
            rows: a list or a DataFrame of rows with the task's columns and its label column. None means the rows of
                ``split``.
            split: dev, test or train as the run split its data, or an official split such as validation.

        Raises:
            KronaError: a row lacks a column or has an unknown label, or the split does not exist.
        """
        if rows is None:
            return evaluate(self, RowChoice(split=split))
        with tempfile.TemporaryDirectory(prefix="krona-") as folder:
            file = Path(folder) / "rows.jsonl"
            file.write_text("".join(f"{json.dumps(row)}\n" for row in _records(rows)), encoding="utf-8")
            return replace(evaluate(self, RowChoice(source=str(file))), rows="the given rows")

    def export(self, to: str, out: Path | str, *, dtype: str | None = None) -> list[str]:
        """Write the model or a peft folder to a new folder, check the logits, and return messages for the user.

        Args:
            to: ``merged`` (a complete model for transformers) or ``peft`` (a folder for peft).
            out: the folder of the export.
            dtype: the dtype of a merged model: fp32 (None), bf16 or fp16.

        Raises:
            KronaError: see `krona.adapters.export.export`.
        """
        return export(self.run, to=to, out=Path(out), dtype=dtype)


def load(
    run: str | Path | Result | TrainedRun,
    *,
    backbone: str | Path | None = None,
    device: str | None = None,
    outputs: Path | str | None = None,
) -> Trained:
    """Load the adapter that a run trained, and insert it into its backbone.

    Args:
        run: a run's id, the beginning of its id, its folder or its result, or an adapter file.
        backbone: the folder of the backbone, if the backbone was moved after the run.
        device: the name of a torch device. None means a GPU if one is available.
        outputs: the folder that contains the runs. None means outputs/.

    Raises:
        KronaError: the run was not found or is not finished, the backbone was not found or is not the adapter's
            backbone, or a file is damaged.
    """
    trained_run = run if isinstance(run, TrainedRun) else find(run, outputs=outputs)
    loaded = load_predictor(trained_run, backbone=backbone, device=device)
    return Trained(loaded.run, loaded.model, loaded.family, loaded.in_bf16)


def _records(rows: Any) -> Any:
    """Return the rows of a pandas DataFrame as a list of dicts, and other rows unchanged."""
    return rows.to_dict("records") if hasattr(rows, "to_dict") else rows
