"""Origin of a trained adapter: the task, the backbone and the settings that its use needs.

A run writes it into its adapter's file, so that the file alone is enough; for older files it is read from result.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from krona.config import check
from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.outputs.result import Result
from krona.tasks.task import Task

NOTE = "krona_run"  # the entry of the adapter's header
PLAIN = {"run_id": str, "method": str, "seed": int, "task_prefix": bool, "max_source_length": int, "precision": str}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What an adapter was trained as.

    scores: split → metric → value, 0-100, of the run's own dev and test. targets: the numbers that a regression's rows
    have as text: an answer has as many tokens as the longest of them at most.
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

    @property
    def task_settings(self) -> Task:
        return Task.from_config(self.task)

    @property
    def backbone_settings(self) -> Backbone:
        found = check.build(Backbone, "backbone", self.backbone)
        assert isinstance(found, Backbone)
        return found

    def as_note(self) -> dict[str, str]:
        """The entry of the adapter's header. A task's own files are named without their folders."""
        task = dict(self.task)
        if task.get("files"):
            task["files"] = {split: Path(file).name for split, file in task["files"].items()}
        return {NOTE: json.dumps({**asdict(self), "task": task}, sort_keys=True)}


def origin_in(result: Result) -> Origin:
    """The origin that a run's result tells."""
    config = result.config
    parts = {split: (getattr(result, split) or {}).get("parts") for split in ("dev", "test")}
    numbers = (
        {} if config["task"].get("labels") else {n: None for s in result.splits.values() for n in s.get("targets", ())}
    )
    return Origin(
        run_id=result.run_id,
        method=result.method,
        seed=result.seed,
        task=config["task"],
        backbone=config["backbone"],
        task_prefix=bool(config["method"].get("task_prefix", False)),
        max_source_length=config["max_source_length"],
        precision=config["trainer"]["precision"],
        scores={split: found for split, found in parts.items() if found},
        targets=list(numbers),
    )


def origin_noted(notes: Mapping[str, str], path: Path) -> Origin | None:
    """The origin in an adapter's header; None where it has none. Raises KronaError where it makes no sense."""
    return parsed(notes[NOTE], f"{path}: its header's `{NOTE}`") if NOTE in notes else None


def parsed(text: str, what: str) -> Origin:
    """An origin from its JSON. Raises KronaError where ``what`` makes no sense."""
    try:
        origin = Origin(**json.loads(text))
        for name, kind in PLAIN.items():
            if type(getattr(origin, name)) is not kind:
                raise TypeError(f"{name} is {getattr(origin, name)!r}")
        if not all(isinstance(text, str) for text in origin.targets):
            raise TypeError(f"targets are {origin.targets!r}")
        for parts in origin.scores.values():
            if not all(isinstance(value, int | float) for value in parts.values()):
                raise TypeError(f"scores are {origin.scores!r}")
        origin.task_settings, origin.backbone_settings  # noqa: B018
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise KronaError(f"{what} makes no sense: {error}") from error
    return origin
