"""Find a trained adapter by run id, folder or file, and read its origin: the run, task, backbone and other settings.

A run writes the origin into its adapter file, so that the file can be used without the run's folder.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from krona import paths
from krona.adapters.adapter_file import AdapterConfig
from krona.config import check
from krona.config.settings import Backbone
from krona.messages import KronaError, format_validation_error
from krona.runs.folder import find_run, require_unchanged
from krona.runs.predictions import is_multilabel
from krona.runs.result import ADAPTER, RESULT, Result, read_result
from krona.tasks.task import Task

NOTE = "krona_run"  # the key of the origin in the notes of an adapter file


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))
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


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, or an adapter file with its origin."""

    origin: Origin
    adapter: Path | None  # the adapter file, or None if the run trained no parameters
    result: Result | None  # the run's result, or None for an adapter file outside of a run's folder


def find(run: str | Path | Result, *, outputs: Path | str | None = None) -> TrainedRun:
    """Return a finished run with its adapter, or an adapter file with its origin.

    Args:
        run: a run's id, the beginning of its id, its folder or its result, or an adapter file.
        outputs: the folder that contains the runs. None means outputs/.

    Raises:
        KronaError: the run was not found or is not finished, its weights were not kept, or a file is damaged.
    """
    name = run.run_id if isinstance(run, Result) else run
    path = Path(name)
    if os.path.isdir(path) and not (path / RESULT).is_file():
        path /= ADAPTER
    # unlike pathlib, os.path does not raise an error if the name is too long
    if os.path.isfile(path) and path.name != RESULT:
        return _from_file(path)
    folder = find_run(Path(outputs or paths.OUTPUTS), str(name)).path
    result = read_result(folder / RESULT)
    if result.status != "done":
        raise KronaError(
            f"{result.run_id} is not finished. Its status is {result.status} ({result.reached}). To resume the "
            "run, repeat the command that started it."
        )
    origin, adapter = Origin.of_result(result), folder / ADAPTER
    if adapter.is_file():
        require_unchanged(result, adapter)
        return TrainedRun(origin, adapter, result)
    if not result.trainable_params and not result.head_params:
        return TrainedRun(origin, None, result)
    raise KronaError(
        f"{adapter} was not found. To create it, repeat the command that started the run, with keep=all overwrite=true."
    )


def _from_file(path: Path) -> TrainedRun:
    notes = AdapterConfig.read(path).notes
    if NOTE not in notes:
        raise KronaError(
            f"{path} does not record its task and backbone, because no run wrote it. Use krona.Adapter.load in Python."
        )
    origin = Origin.parse(notes[NOTE], f"The entry `{NOTE}` in the header of {path}")
    result_file, result = path.parent / RESULT, None
    if result_file.is_file() and origin.run_id == path.parent.name:
        result = read_result(result_file)
        require_unchanged(result, path)
    return TrainedRun(origin, path, result)
