"""Define the settings of a run as dataclasses: the type, range, default and meaning of each key."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from krona.methods.placement import Placement as Placement
from krona.paths import NANO, expand
from krona.tasks.rows import MAX_COUNT, Positive, Seed
from krona.tasks.rows import Data as Data
from krona.tasks.task import Task

STRICT = ConfigDict(
    strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, use_attribute_docstrings=True
)
AUTOCAST = ("bf16-mixed", "bf16-frozen")  # the precisions in which forward passes run under torch's autocast
NonNegative = Annotated[int, Ge(0), Le(MAX_COUNT)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Method:
    """A method: a branch with its arguments, and the arguments of `krona.surgery.insert`."""

    name: str
    """Name of the method's YAML in conf/method."""
    label: str | None = None
    """Name in reports."""
    order: Positive | None = None
    """Position in tables, and colour in charts."""
    source: str = "its own YAML"
    """Origin of the values."""
    branch: str | None = None
    """Dotted path of the branch's class (``_target_``); null: no branch."""
    branch_config: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    """The keys of `Placement` that the config sets."""
    alpha: Annotated[float, Gt(0)] | None = None
    """Set ``scaling`` to alpha / rank."""
    rank_stabilised: bool = False
    """Set ``scaling`` to alpha / √rank (rsLoRA)."""
    task_prefix: bool = False
    """Prepend the task's name to the source text."""
    fit_factors: Literal["exact", "nearest"] = "exact"
    """If kron_factors do not fit a layer: raise an error (exact), or use the nearest shape."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Backbone:
    """The pretrained model and the source of its weights and tokenizer."""

    name: str
    """Name on the Hub; with ``path``, any name."""
    architecture: str | None = None
    """Model type in transformers, if only ``sizes`` are given; null: t5."""
    path: str | None = None
    """Folder of the model; null: the Hub."""
    pretrained: bool = True
    """Load pretrained weights, instead of random ones."""
    revision: str | None = None
    """Branch, tag or commit of the Hub repository."""
    sizes: Mapping[str, Any] | None = None
    """Values of the model's config, to count parameters without weights."""
    quantisation: Literal["nf4"] | None = None
    """Store the frozen linear layers in 4 bits."""
    tokenizer: str | None = None
    """Folder of the tokenizer; null: the backbone's tokenizer."""
    tied_head: bool | None = None
    """Whether the output layer shares the embeddings' weight, if only ``sizes`` are given."""
    pooling: Literal["auto", "pooler", "first", "mean"] | None = None
    """Input of an encoder's classifier; null: as in transformers; auto: from 1_Pooling/config.json."""
    factor_shapes: Mapping[str, Any] = field(default_factory=dict)
    """Replacements for the paper's factor shapes on this backbone."""
    learning_rates: Mapping[str, float | str] | None = None
    """Learning rates by method; null: the rates for T5."""

    @property
    def name_or_path(self) -> str:
        """The local path, or the name on the Hub."""
        return self.path or self.name

    @property
    def folder(self) -> Path | None:
        """The folder of the model; None if the model comes from the Hub or is built from ``sizes``."""
        if self.path is None:
            return NANO if self.name == "nano" else None
        return expand(self.path)

    @property
    def tokenizer_folder(self) -> Path | None:
        """The folder of the tokenizer; None if the tokenizer comes from the Hub.

        A model that is built from ``sizes``, with random weights, uses the tokenizer of the backbone nano.
        """
        if self.tokenizer is not None:
            return expand(self.tokenizer)
        return NANO if self.folder is None and not self.pretrained and self.sizes is not None else self.folder

    @property
    def needs_hub(self) -> bool:
        """Whether the weights, the config or the tokenizer come from the Hub."""
        return self.folder is None and (self.pretrained or self.tokenizer_folder is None)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optimizer:
    """The optimizer's class and arguments, the warm-up and the clipping."""

    target: str
    """Dotted path of the class. The other keys are its arguments."""
    lr: Annotated[float, Ge(0)]
    """Learning rate after the warm-up; the method or the recipe sets it."""
    lr_factors: Mapping[str, Annotated[float, Gt(0)]] = field(default_factory=dict)
    """Factors of ``lr`` for weight groups: head, layer_norms, or a branch tensor such as A."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    warmup_steps: NonNegative | Annotated[float, Ge(0), Lt(1)]
    """Warm-up steps, or (below 1) a fraction of all steps; default: 500 in the paper's setting, otherwise 0.06."""
    gradient_clip: Annotated[float, Ge(0)] | None = None
    """Maximum norm of the gradient; null or 0: no clipping."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Scheduler:
    """The learning-rate schedule, which is stepped after each optimizer step."""

    target: str = "transformers.get_linear_schedule_with_warmup"
    """Dotted path of the function or class. The other keys are its arguments."""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Trainer:
    """Length, precision and hardware of the training."""

    max_epochs: NonNegative
    """Passes over the training rows."""
    max_steps: Annotated[int, Ge(-1), Le(MAX_COUNT)]
    """Maximum number of optimizer steps; -1: no limit."""
    patience: Positive | None = None
    """Stop after this number of epochs without a better dev score."""
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "bf16-frozen"] = "32-true"
    """Precision of weights and computation; bf16-frozen: only the frozen weights are in bf16."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """Kind of device; auto: a GPU if one is available."""
    devices: Positive | Literal["auto"] = 1
    """Number of devices per node; auto: all GPUs."""
    num_workers: NonNegative
    """Processes that load rows."""
    threads: Annotated[int, Ge(1), Le(1024)] | None = None
    """Number of CPU threads; null: one per core."""
    eval_batch_size: Positive
    """Rows in an evaluation batch."""
    bucket_by_length: bool = False
    """Group rows of similar length into batches."""
    compile: bool = False
    """Compile the model and the loss with torch.compile."""
    limit_train_batches: Positive | Annotated[float, Ge(0), Le(1)] = 1.0
    """Maximum number of batches per epoch, or a fraction of all batches."""
    accumulate_grad_batches: Positive = 1
    """Batches of batch_size rows per optimizer step."""
    fast_dev_run: bool | Positive = False
    """Run this number of batches of each split without saving results; true: one batch."""
    log_every_n_steps: Positive = 50
    """Number of steps between two logged values of train/step_loss."""
    enable_progress_bar: bool = True
    """Show the progress of the run."""
    enable_model_summary: bool = False
    """Print Lightning's model summary before training."""
    num_sanity_val_steps: Annotated[int, Ge(-1)] = 0
    """Number of dev batches that Lightning evaluates before training; -1: all."""
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    """Lightning profiler, which writes to the run's folder; null: none."""
    detect_anomaly: bool = False
    """Let autograd report the operation that produced a NaN."""
    deterministic: bool = False
    """Use only deterministic algorithms of torch."""
    benchmark: bool | None = None
    """Let cuDNN choose its fastest algorithms."""

    @model_validator(mode="after")
    def _check_compile(self) -> Self:
        if self.compile and self.gradient_checkpointing:
            raise ValueError("trainer.compile=true cannot be used with trainer.gradient_checkpointing=true")
        return self

    @property
    def frozen_in_bf16(self) -> bool:
        return self.precision == "bf16-frozen"

    @property
    def autocast(self) -> bool:
        """Whether forward passes run under torch's autocast to bf16, in training and in scoring."""
        return self.precision in AUTOCAST


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunSettings:
    """All settings of one run."""

    method: Method
    task: Task
    backbone: Backbone
    data: Data
    optimizer: Optimizer
    scheduler: Scheduler = field(default_factory=Scheduler)
    trainer: Trainer
    batch_size: Positive
    """Rows in a batch, over all devices."""
    micro_batch_size: Positive | None = None
    """Maximum number of rows per forward pass; does not affect the gradient."""
    max_source_length: Annotated[int, Ge(2), Le(MAX_COUNT)]
    """Maximum number of tokens in a source text."""
    seed: Seed
    """Seed of new weights, row order and dropout."""
    init_from: str | None = None
    """Run or adapter file with the initial weights."""
    keep: Literal["auto", "adapter", "all"] = "auto"
    """Save fully fine-tuned weights: always (all), never (adapter), or below 500 MB if test is scored (auto)."""
    score_test: bool = True
    """Score the test set."""
    min_score: float | None = None
    """Exit with code 1 if the score on test (or dev, without one) is lower."""
    overwrite: bool = False
    """Repeat a finished run."""
    retry: Literal["failed"] | None = None
    """Repeat a failed run."""
    sweep: str | None = None
    """Name of the sweep that contains the run."""
    callbacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Lightning's callbacks by name."""
    logger: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Trackers and Lightning's loggers by name."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The composed config of the run."""

    @model_validator(mode="after")
    def _check_micro_batch(self) -> Self:
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise ValueError(f"micro_batch_size={self.micro_batch_size} is larger than batch_size={self.batch_size}")
        return self

    @property
    def step_rows(self) -> int:  # rows of an optimizer step, over all devices
        return self.batch_size * self.trainer.accumulate_grad_batches
