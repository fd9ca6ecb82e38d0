"""Settings of a run as typed dataclasses. `krona.config.check` validates a config against their types and ranges."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt

from krona.config.types import MOST
from krona.tasks.task import Task

NonNegative = Annotated[int, Ge(0), Le(MOST)]
Positive = Annotated[int, Ge(1), Le(MOST)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: its branch and the arguments of it and of `surgery.insert`."""

    name: str
    source: str = "its own YAML"  # table of the values
    branch: str | None = None  # dotted path of the branch's class: _target_
    branch_config: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    task_prefix: bool = False  # put the task's name before the source text
    fit_factors: Literal["exact", "nearest"] = "exact"  # nearest: on another width, the counterpart


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The model, and the source of its weights and tokenizer."""

    name: str
    architecture: str | None = None  # transformers' name of it, where sizes alone are given; null: t5
    path: str | None = None
    pretrained: bool = True
    revision: str | None = None
    sizes: Mapping[str, Any] | None = None
    tokenizer: str | None = None
    tied_head: bool | None = None
    # what an encoder's classifier reads; null: as the library's class does; auto: as a local folder's 1_Pooling says
    pooling: Literal["auto", "pooler", "first", "mean"] | None = None
    factor_shapes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Source of the rows, and their split."""

    kind: Literal["hub", "tsv", "sample"]
    path: str | None = None
    name: str | None = None
    revision: str | None = None
    protocol: Literal["table1", "appendix_d1"] = "table1"
    train_rows: Positive | None = None
    subset_seed: Seed | None = None  # of the subset of train_rows; null: seed
    skip_bad_rows: bool = False
    quoting: Literal["csv"] | None = None  # csv: fields of a TSV are quoted as in a CSV
    seed: Seed = 42


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Class and arguments of the optimiser, and its schedule."""

    target: str
    lr: Annotated[float, Ge(0)]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    warmup_steps: NonNegative | Annotated[float, Ge(0), Lt(1)]  # below 1: a share of all steps, rounded up
    gradient_clip: Annotated[float, Ge(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """Function or class of the learning-rate schedule, stepped after each optimiser step, and its arguments."""

    target: str = "transformers.get_linear_schedule_with_warmup"
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Length, precision and hardware of the training."""

    max_epochs: NonNegative
    max_steps: Annotated[int, Ge(-1), Le(MOST)]
    patience: Positive | None = None
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "bf16-frozen"] = "32-true"
    gradient_checkpointing: bool = False  # recompute activations in the backward pass
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: Positive | Literal["auto"] = 1  # per node; auto: all GPUs
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"  # for several devices; fsdp: shards the frozen weights
    num_workers: NonNegative
    threads: Annotated[int, Ge(1), Le(1024)] | None = None
    eval_batch_size: Positive
    bucket_by_length: bool = False  # batches of rows of similar length
    compile: bool = False  # train the model as one graph of torch.compile
    measure_forgetting: bool | str = False  # at the end, the pretraining loss on held-out text; or a file of texts
    # Lightning's own
    limit_train_batches: Positive | Annotated[float, Ge(0), Le(1)] = 1.0  # of each epoch: batches, or a share
    accumulate_grad_batches: Positive = 1  # batches of batch_size rows in one step
    fast_dev_run: bool | Positive = False  # go through one batch of each split and keep nothing
    log_every_n_steps: Positive = 50
    enable_progress_bar: bool = True
    enable_model_summary: bool = False
    num_sanity_val_steps: Annotated[int, Ge(-1)] = 0
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    detect_anomaly: bool = False
    deterministic: bool = False
    benchmark: bool | None = None

    @property
    def frozen_in_bf16(self) -> bool:
        return self.precision == "bf16-frozen"


@dataclass(frozen=True, kw_only=True)
class Run:
    """All settings of one run."""

    method: Method
    task: Task
    backbone: Backbone
    data: Data
    optimizer: Optimizer
    scheduler: Scheduler = field(default_factory=Scheduler)
    trainer: Trainer
    batch_size: Positive
    micro_batch_size: Positive | None = None
    max_source_length: Annotated[int, Ge(2), Le(MOST)]  # one token and the end of sequence
    seed: Seed
    init_from: str | None = None  # a run, an adapter's file or a peft folder whose weights this run begins with
    keep: Literal["adapter", "all"] = "adapter"
    score_test: bool = True
    overwrite: bool = False
    retry: Literal["failed"] | None = None
    sweep: str | None = None
    callbacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # Lightning's, by name
    trackers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by name
    config: Mapping[str, Any] = field(default_factory=dict)  # the composed values, as checked

    @property
    def step_rows(self) -> int:
        """Rows of one optimiser step, over all devices."""
        return self.batch_size * self.trainer.accumulate_grad_batches
