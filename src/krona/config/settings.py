"""Define the settings of a run as dataclasses: the type, range, default and meaning of each key."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le, Lt
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from krona.methods.placement import Placement as Placement
from krona.tasks.task import Task

MAX_COUNT = 2**31 - 1  # the largest number that torch and the operating system accept
STRICT = ConfigDict(
    strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, use_attribute_docstrings=True
)
NonNegative = Annotated[int, Ge(0), Le(MAX_COUNT)]
Positive = Annotated[int, Ge(1), Le(MAX_COUNT)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Method:
    """A method: its branch, and the arguments of the branch and of `krona.surgery.insert`."""

    name: str
    """Name of the method's YAML in conf/method."""
    source: str = "its own YAML"
    """The table of the paper, or the paper, that the values come from."""
    branch: str | None = None
    """Dotted path of the branch's class (``_target_``); null: no branch."""
    branch_config: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    """The keys of `Placement` that the config sets."""
    task_prefix: bool = False
    """Put the task's name before the source text."""
    fit_factors: Literal["exact", "nearest"] = "exact"
    """With nearest, replace kron_factors that do not fit the layers by a shape that fits."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Backbone:
    """The pretrained model and the source of its weights and tokenizer."""

    name: str
    """Name of the model, on the Hub where ``path`` is null."""
    architecture: str | None = None
    """The model type of transformers, where only ``sizes`` are given; null: t5."""
    path: str | None = None
    """Folder or GGUF file with the model; null: the model ``name`` of the Hub."""
    pretrained: bool = True
    """With false, use random weights."""
    revision: str | None = None
    """Branch, tag or commit of the Hub repository."""
    sizes: Mapping[str, Any] | None = None
    """Values of the model's config, such as d_model; they allow counting without weights."""
    tokenizer: str | None = None
    """Folder or Hub name of the tokenizer; null: the backbone's own."""
    tied_head: bool | None = None
    """Whether the output layer shares the weight of the embeddings, where only ``sizes`` are given."""
    pooling: Literal["auto", "pooler", "first", "mean"] | None = None
    """Input of an encoder's classifier; null: as transformers has it; auto: as the folder's 1_Pooling says."""
    factor_shapes: Mapping[str, Any] = field(default_factory=dict)
    """This backbone's counterpart of each factor shape of the paper."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """The source of the rows and their split."""

    kind: Literal["hub", "tsv", "sample"]
    """GLUE from the Hub, GLUE's files in a folder, or the generated sample tasks."""
    path: str | None = None
    """Folder with GLUE's files, for kind tsv."""
    name: str | None = None
    """Name of the data set on the Hub."""
    revision: str | None = None
    """Branch, tag or commit of the data set on the Hub."""
    protocol: Literal["table1", "appendix_d1", "validation"] = "table1"
    """Division of the rows into train, dev and test."""
    train_rows: Positive | None = None
    """Train on a subset of so many rows, balanced by class."""
    subset_seed: Seed | None = None
    """Seed of the subset; null: data.seed."""
    skip_bad_rows: bool = False
    """Leave out malformed rows instead of stopping."""
    quoting: Literal["csv"] | None = None
    """With csv, read the quotes of a TSV file as in a CSV file."""
    seed: Seed = 42
    """Seed of the split."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optimizer:
    """The optimizer's class and arguments, the warm-up and the clipping."""

    target: str
    """Dotted path of the class. Other keys of the section are its arguments."""
    lr: Annotated[float, Ge(0)]
    """Learning rate after the warm-up; the method or the recipe sets it."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    warmup_steps: NonNegative | Annotated[float, Ge(0), Lt(1)]
    """Steps in which the learning rate rises from 0. A number below 1 is a share of all steps."""
    gradient_clip: Annotated[float, Ge(0)] | None = None
    """Maximum norm of the gradient; null: no clipping."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Scheduler:
    """Function or class of the learning-rate schedule, stepped after each optimizer step, and its arguments."""

    target: str = "transformers.get_linear_schedule_with_warmup"
    """Dotted path of the function or class. Other keys of the section are its arguments."""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Trainer:
    """Length, precision and hardware of the training."""

    max_epochs: NonNegative
    """Number of passes over the training rows."""
    max_steps: Annotated[int, Ge(-1), Le(MAX_COUNT)]
    """Maximum number of optimizer steps; -1: no limit."""
    patience: Positive | None = None
    """Stop after so many epochs without a better dev score; null: never."""
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "bf16-frozen"] = "32-true"
    """Number format. With bf16-frozen, only the frozen weights are in bf16."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """Kind of device; auto: a GPU if there is one."""
    devices: Positive | Literal["auto"] = 1
    """Number of devices per node; auto: all GPUs."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """For several devices; fsdp shards the frozen weights."""
    num_workers: NonNegative
    """Processes that load rows."""
    threads: Annotated[int, Ge(1), Le(1024)] | None = None
    """CPU threads; null: one per core."""
    eval_batch_size: Positive
    """Rows of a batch in evaluation."""
    bucket_by_length: bool = False
    """Make batches of rows of similar length."""
    compile: bool = False
    """Train the model as one graph of torch.compile."""
    measure_forgetting: bool | str = False
    """Measure the pretraining loss on held-out text at the end, or on the lines of a file."""
    limit_train_batches: Positive | Annotated[float, Ge(0), Le(1)] = 1.0
    """Part of each epoch that is used: a number of batches, or a share of them."""
    accumulate_grad_batches: Positive = 1
    """Number of batches of batch_size rows in one step."""
    fast_dev_run: bool | Positive = False
    """Run one batch of each split without saving results."""
    log_every_n_steps: Positive = 50
    """Steps between two values of train/loss in Lightning's loggers."""
    enable_progress_bar: bool = True
    """Show the progress of the run."""
    enable_model_summary: bool = False
    """Print Lightning's table of the model before training."""
    num_sanity_val_steps: Annotated[int, Ge(-1)] = 0
    """Lightning's number of dev batches before training; -1: all."""
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    """Write Lightning's profile to the run's folder."""
    detect_anomaly: bool = False
    """Let autograd report the operation that produced a NaN."""
    deterministic: bool = False
    """Use only deterministic algorithms of torch."""
    benchmark: bool | None = None
    """Let cuDNN choose its fastest algorithms."""

    @model_validator(mode="after")
    def _check_compile(self) -> Self:
        if self.compile and (self.strategy == "fsdp" or self.gradient_checkpointing):
            raise ValueError(
                "trainer.compile=true can't be used with trainer.strategy=fsdp or trainer.gradient_checkpointing=true"
            )
        return self

    @property
    def frozen_in_bf16(self) -> bool:
        return self.precision == "bf16-frozen"


@dataclass(frozen=True, kw_only=True, config=STRICT)
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
    """Rows of a batch, over all devices."""
    micro_batch_size: Positive | None = None
    """Rows that are computed together, to save memory. The gradient is that of the whole batch."""
    max_source_length: Annotated[int, Ge(2), Le(MAX_COUNT)]
    """Maximum number of source tokens, with the end of sequence."""
    seed: Seed
    """Seed of new weights, order of rows and dropout."""
    init_from: str | None = None
    """Run, adapter file or peft folder whose trained weights this run starts from."""
    keep: Literal["adapter", "all"] = "adapter"
    """With all, save the weights of full fine-tuning too."""
    score_test: bool = True
    """With false, score dev only, as a search for hyper-parameters requires."""
    overwrite: bool = False
    """Run again even if the run is done."""
    retry: Literal["failed"] | None = None
    """With failed, run again if the run failed."""
    sweep: str | None = None
    """Name of the run's sweep. It does not change the run id."""
    callbacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Lightning's callbacks by name."""
    logger: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Trackers and Lightning's loggers by name."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The composed values, as they were checked."""

    @model_validator(mode="after")
    def _check_micro_batch(self) -> Self:
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise ValueError(f"micro_batch_size={self.micro_batch_size} is larger than batch_size={self.batch_size}")
        return self

    @property
    def step_rows(self) -> int:  # rows of an optimizer step, over all devices
        return self.batch_size * self.trainer.accumulate_grad_batches
