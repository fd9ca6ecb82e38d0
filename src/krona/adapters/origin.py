"""The origin of a trained adapter: the task, the backbone and the settings that its use needs.

A run writes it into its adapter's file, so that the file alone is enough. For older files it is read from result.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import normalize
from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.runs.result import Result
from krona.tasks.task import Task

NOTE = "krona_run"  # the entry of the adapter's header


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))
class Origin:
    """The run that trained an adapter.

    scores: split → metric → value (0-100) of the run's own dev and test. targets: of a regression, the numbers in its
    rows as text; an answer has at most as many tokens as the longest of them.
    """

    run_id: str
    method: str
    seed: int
    task: Mapping[str, Any]
    backbone: Mapping[str, Any]
    task_prefix: bool
    max_source_length: int
    precision: str = "32-true"
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    targets: Sequence[str] = ()

    @classmethod
    def parse(cls, text: str, label: str) -> "Origin":
        """Return the origin of a JSON text. Raises KronaError, which begins with ``label``, if it is invalid."""
        try:
            origin = TypeAdapter(cls).validate_json(text)
            origin.task_settings, origin.backbone_settings  # noqa: B018
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            raise KronaError(f"{label} is invalid: {'; '.join(problems)}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise KronaError(f"{label} is invalid: {error}") from error
        return origin

    @classmethod
    def of_result(cls, result: Result) -> "Origin":
        """Return the origin that a run's result records."""
        config = result.config
        parts = {split: (getattr(result, split) or {}).get("parts") for split in ("dev", "test")}
        targets = [number for split in result.splits.values() for number in split.get("targets", ())]
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
            targets=[] if config["task"].get("labels") else list(dict.fromkeys(targets)),
        )

    @property
    def task_settings(self) -> Task:
        return Task.from_config(self.task)

    @property
    def backbone_settings(self) -> Backbone:
        settings = check.build(Backbone, "backbone", self.backbone)
        assert isinstance(settings, Backbone)
        return settings

    def source_text(self, row: Mapping[str, Any]) -> str:
        """Return the text of a row for a model that reads text."""
        task = self.task_settings
        return task.source(row, prefix=task.prefixed(self.task_prefix))

    def with_backbone(self, folder: str | Path | None) -> "Origin":
        """Return the origin with the backbone in another folder; None: as it is."""
        return self if folder is None else replace(self, backbone={**self.backbone, "path": str(folder)})

    def as_note(self) -> dict[str, str]:
        """Return the entry of the adapter's header. The task's own files are named without their folders."""
        task = dict(self.task)
        if task.get("files"):
            task["files"] = {split: Path(file).name for split, file in task["files"].items()}
        return {NOTE: json.dumps({**asdict(self), "task": task}, sort_keys=True)}


def read_origin(notes: Mapping[str, str], path: Path) -> Origin | None:
    """Return the origin in the notes of an adapter's file; None if there is none."""
    return Origin.parse(notes[NOTE], f"{path}: the entry `{NOTE}` of its header") if NOTE in notes else None


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the config of a run with these overrides of train.py."""
    with hydra_session():
        return compose_job(normalize(overrides)).config
