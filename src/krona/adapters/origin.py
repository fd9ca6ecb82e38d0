"""The origin of a trained adapter: the task, the backbone and the settings that its use needs.

A run writes it into its adapter's file, so that the file alone is enough. For older files it is read from result.json.
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
from krona.messages import KronaError
from krona.runs.result import Result
from krona.tasks.task import Task

NOTE = "krona_run"  # the entry of the adapter's header


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))
class Origin:
    """What an adapter was trained as.

    scores: split → metric → value (0-100) of the run's own dev and test. targets: the numbers that a regression's rows
    have as text: an answer has at most as many tokens as the longest of them.
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
    def parse(cls, text: str, what: str) -> "Origin":
        """Return the origin of a JSON text. Raises KronaError, with ``what`` the text is, if it makes no sense."""
        try:
            origin = TypeAdapter(cls).validate_json(text)
            origin.task_settings, origin.backbone_settings  # noqa: B018
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            raise KronaError(f"{what} makes no sense: {'; '.join(problems)}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise KronaError(f"{what} makes no sense: {error}") from error
        return origin

    @classmethod
    def of_result(cls, result: Result) -> "Origin":
        """Return the origin that a run's result has."""
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

    def as_note(self) -> dict[str, str]:
        """Return the entry of the adapter's header. The task's own files are named without their folders."""
        task = dict(self.task)
        if task.get("files"):
            task["files"] = {split: Path(file).name for split, file in task["files"].items()}
        return {NOTE: json.dumps({**asdict(self), "task": task}, sort_keys=True)}


def read_origin(notes: Mapping[str, str], path: Path) -> Origin | None:
    """Return the origin in the notes of an adapter's file; None if there is none."""
    return Origin.parse(notes[NOTE], f"{path}: its header's `{NOTE}`") if NOTE in notes else None
