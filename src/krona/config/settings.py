"""A run's settings as plain typed objects: what lies behind the edge at which Hydra and OmegaConf stop.

Each field's type, and its range where it has one, is what `krona.config.check` holds a config against.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from krona.tasks.task import Task


def between(low: float, high: float | None = None, **kwargs: Any) -> Any:
    """A field whose value lies in [low, high]; an excluded bound is the caller's next number."""
    return field(metadata={"low": low, "high": high}, **kwargs)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: its branch and the arguments of it and of `surgery.insert`."""

    name: str
    source: str = "its own YAML"  # the table that the values come from
    branch: str | None = None  # dotted path of the branch's class (the YAML's _target_)
    branch_config: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    task_prefix: bool = False  # the task's name stands before the source
    fit_factors: Literal["exact", "nearest"] = "exact"  # may a shape be fitted to another width?


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """Which T5, and where its weights and its tokenizer come from."""

    name: str
    path: str | None = None
    pretrained: bool = True
    revision: str | None = None
    sizes: Mapping[str, Any] | None = None
    tokenizer: str | None = None
    tied_head: bool | None = None
    factor_shapes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where rows come from and how they are split."""

    kind: Literal["hub", "tsv", "sample"]
    path: str | None = None
    name: str | None = None
    revision: str | None = None
    protocol: Literal["table1", "appendix_d1"] = "table1"
    train_rows: int | None = between(1, default=None)
    skip_bad_rows: bool = False
    seed: int = between(0, 2**32 - 1, default=42)


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """The optimiser's class with its arguments, and the schedule around it."""

    target: str
    lr: float = between(0)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    warmup_steps: int = between(0)
    gradient_clip: float | None = between(0, default=None)


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How long, how exact and on what."""

    max_epochs: int = between(0)
    max_steps: int = between(-1)
    patience: int | None = between(1, default=None)
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "bf16-frozen"] = "32-true"
    gradient_checkpointing: bool = False  # a block's activations are computed again in the backward pass
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: int | Literal["auto"] = between(1, default=1)  # of each node; auto: a GPU run takes all there are
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"  # of several devices; fsdp: each holds a part of what is frozen
    num_workers: int = between(0)
    threads: int | None = between(1, default=None)
    eval_batch_size: int = between(1)
    bucket_by_length: bool = False  # training batches of rows of about one length

    @property
    def frozen_in_bf16(self) -> bool:
        return self.precision == "bf16-frozen"


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that one run is."""

    method: Method
    task: Task
    backbone: Backbone
    data: Data
    optimizer: Optimizer
    trainer: Trainer
    batch_size: int = between(1)
    micro_batch_size: int | None = between(1, default=None)
    max_source_length: int = between(2)  # a piece and the end of sequence
    seed: int = between(0, 2**32 - 1)
    keep: Literal["adapter", "all"] = "adapter"
    score_test: bool = True
    overwrite: bool = False
    retry: Literal["failed"] | None = None
    sweep: str | None = None
    trackers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by name
    config: Mapping[str, Any] = field(default_factory=dict)  # the composed values, as they were checked
