"""The origin of a trained adapter: its run, and the task, backbone and settings that are needed to use the adapter.

A run writes the origin into its adapter file, so that the file can be used without the run's folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from krona.config import check
from krona.config.settings import Backbone
from krona.messages import KronaError, format_validation_error
from krona.runs.predictions import is_multilabel
from krona.runs.result import Result
from krona.tasks.task import Task

NOTE = "krona_run"  # the key of the origin in the notes of an adapter file


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))
class Origin:
    """The run that trained an adapter, with the settings that are needed to use the adapter."""

    run_id: str
    method: str
    seed: int
    task: Mapping[str, Any]
    backbone: Mapping[str, Any]
    task_prefix: bool  # whether the text of each row begins with the task's prefix
    max_source_length: int
    precision: str = "32-true"
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # scores from 0 to 100, by split and metric
    # the target texts of a regression or a multi-label task; the longest limits the length of predictions
    targets: Sequence[str] = ()
    threshold: float | None = None  # a label is predicted if its probability is higher (multi-label); None: 0.5

    @classmethod
    def parse(cls, text: str | bytes, label: str) -> "Origin":
        """Parse an origin from JSON.

        Raises:
            KronaError: the text is not valid JSON, or a setting is missing or invalid. The message begins with
                ``label``.
        """
        try:
            origin = TypeAdapter(cls).validate_json(text)
            origin.task_settings, origin.backbone_settings  # noqa: B018
        except ValidationError as error:
            raise KronaError(f"{label} is invalid: {format_validation_error(error)}") from error
        except (KronaError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise KronaError(f"{label} is invalid: {error}") from error
        return origin

    @classmethod
    def of_result(cls, result: Result) -> "Origin":
        """Return the origin of a run's adapter from the run's result."""
        config = result.config
        parts = {split: (getattr(result, split) or {}).get("parts") for split in ("dev", "test")}
        targets = [number for split in result.splits.values() for number in split.get("targets", ())]
        has_labels = config["task"].get("labels") and not is_multilabel(config["task"])
        return cls(
            run_id=result.run_id,
            method=result.method,
            seed=result.seed,
            task=config["task"],
            backbone=config["backbone"],
            task_prefix=bool(config["method"].get("task_prefix", False)),
            max_source_length=config["max_source_length"],
            precision=config["trainer"]["precision"],
            scores={split: found for split, found in parts.items() if found},
            targets=[] if has_labels else list(dict.fromkeys(targets)),
            threshold=result.provenance.get("threshold"),
        )

    @property
    def task_settings(self) -> Task:
        """The task on which the adapter was trained."""
        return Task.from_config(self.task)

    @property
    def backbone_settings(self) -> Backbone:
        """The settings of the backbone on which the adapter was trained."""
        return check.build(Backbone, "backbone", self.backbone)

    def source_text(self, row: Mapping[str, Any]) -> str:
        """Return the model's input text for a row."""
        task = self.task_settings
        return task.source(task.texts(row), prefix=self.task_prefix)

    def as_note(self) -> dict[str, str]:
        """Return the origin as a note for an adapter file. Paths of data files are shortened to file names."""
        task = dict(self.task)
        if files := self.task_settings.files:
            task["files"] = {split: Path(file).name for split, file in files.items()}
        content = {**asdict(self), "task": task}
        if self.threshold is None:
            del content["threshold"]
        return {NOTE: json.dumps(content, sort_keys=True)}
