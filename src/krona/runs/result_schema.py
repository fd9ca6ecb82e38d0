"""The nested objects of result.json, with the type, the range and the description of each key.

A key is marked `NotRequired` if the first versions of krona did not write it.
"""

from typing import Annotated, Any, NotRequired

from annotated_types import Ge, Gt, Len, Lt
from typing_extensions import TypedDict  # pydantic requires this TypedDict before Python 3.12

from krona.runs.checked_types import Count, Flag, Integer, Number, Positive, Score, Words, read, written


@written
class Outcomes(TypedDict):
    """Targets and predictions of all rows. Each is a text with a line per row, compressed with zlib, in base64."""

    targets: str
    predictions: str


@written
class Scored(TypedDict):
    """Scores of a split in the best epoch, 0-100."""

    score: Score
    """The score that tables show."""
    choice: NotRequired[Score]
    """The mean of all metrics, which selects the epoch."""
    parts: dict[str, Score]
    """The value of each metric."""
    outcomes: NotRequired[Outcomes]


@written
class Epoch(TypedDict):
    """One epoch. Epoch 0 is the untrained model, which has no loss, no learning rate and no training examples."""

    epoch: Count
    step: NotRequired[Count]
    """Number of optimizer steps until the end of the epoch."""
    score: NotRequired[Score]
    """The dev score."""
    choice: NotRequired[Score]
    """The mean of all dev metrics."""
    parts: NotRequired[dict[str, Score]]
    """The value of each dev metric."""
    loss: NotRequired[Number]
    """The mean training loss over the steps of the epoch."""
    lr: NotRequired[Positive]
    """The learning rate at the last step."""
    examples_per_s: NotRequired[Positive]
    examples_seen: NotRequired[Count]


@written
class Fault(TypedDict):
    """Rows that were left out for one kind of fault."""

    kind: str
    rows: Count
    first: str
    """FILE:LINE: message."""


@written
class SplitFacts(TypedDict):
    """The data of a split. Splits of one source file have the same bad rows."""

    rows: NotRequired[Count]
    fingerprint: NotRequired[str]
    """A hash of the ids and texts."""
    skipped_rows: NotRequired[Count]
    """Bad rows that were left out, with data.skip_bad_rows=true."""
    truncated: NotRequired[Count]
    """Sources that were cut to max_source_length."""
    skipped: NotRequired[list[Fault]]
    """The bad rows, by the kind of their fault."""
    empty_texts: NotRequired[Count]
    """Rows with an empty text."""
    targets: NotRequired[dict[str, Count]]
    """Number of rows with each target text."""
    repeated: NotRequired[Count]
    """Rows whose source text occurs earlier in the same split."""
    also_in_train: NotRequired[Count]
    """Rows whose source text is also in train."""
    also_in_dev: NotRequired[Count]
    """Rows whose source text is also in dev."""


@written
class Splits(TypedDict):
    """The data of a run."""

    train: NotRequired[SplitFacts]
    dev: NotRequired[SplitFacts]
    test: NotRequired[SplitFacts]


@written
class BackboneFacts(TypedDict):
    """Facts about the backbone that do not depend on its name."""

    architecture: str
    parameters: Count
    """Before insertion."""
    sizes: Words


@read
class BranchConfig(TypedDict):
    """The arguments with which the branches were built."""

    kron_factors: NotRequired[Annotated[list[list[Integer]], Len(1)] | None]


@written
class Provenance(TypedDict):
    """The code, the machine and the libraries of a run. Only ``own_code`` is part of the run id."""

    git_commit: NotRequired[str | None]
    git_dirty: NotRequired[Flag | None]
    git_code: NotRequired[str | None]
    """The last commit that changed src, conf or train.py."""
    own_code: NotRequired[dict[str, str]]
    """The hash of each of the user's modules that define classes of the config. It is part of the run id."""
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str]
    devices: NotRequired[Count]
    """The number of processes that executed the run together."""
    threads: NotRequired[Count]
    """CPU threads of each process."""
    host: NotRequired[str]
    backbone: NotRequired[BackboneFacts]
    data_fingerprint: NotRequired[str]
    backbone_fingerprint: NotRequired[str]
    pretrained: NotRequired[Flag]
    """False if the backbone has random weights."""
    data_kind: NotRequired[str]
    """glue, sample or own."""
    official_rows: NotRequired[dict[str, Annotated[list[Count], Len(2, 2)]]]
    """For each part of a GLUE task, the number of usable rows and the number of rows in GLUE."""
    branch_config: NotRequired[BranchConfig]
    method_defaults: NotRequired[Words]
    """Arguments that are not in the config, with their default values."""
    update_rank: NotRequired[Count | None]
    """The highest possible rank of the update of a layer; null if the update is not linear."""
    multiply_adds: NotRequired[Count]
    """Multiply-adds that the unmerged branches need for one token."""
    launches: NotRequired[Count]
    """Number of operations that the unmerged branches add to a forward pass."""
    sha256: NotRequired[dict[str, str]]
    """Checksums of the adapter and the predictions, and of result.json without this checksum."""
    started: NotRequired[str]
    finished: NotRequired[str]


@read
class MethodConfig(TypedDict):
    name: str
    kron_factors: NotRequired[list[list[Integer]] | None]


@read
class TaskConfig(TypedDict):
    name: NotRequired[str]
    metrics: str | Annotated[list[str], Len(1)]
    score: NotRequired[str | list[str] | None]
    labels: NotRequired[list[Any] | dict[str, Integer] | None]


@read
class BackboneConfig(TypedDict):
    name: str | None


@read
class OptimizerConfig(TypedDict):
    lr: Number
    warmup_steps: NotRequired[Integer | Annotated[Number, Ge(0), Lt(1)]]


@read
class TrainerConfig(TypedDict):
    max_epochs: Annotated[Integer, Ge(-1), Lt(2**31)]
    max_steps: NotRequired[Integer]


@read
class Config(TypedDict):
    """Every value of the run, as --cfg job shows it. Only what reports read is checked."""

    method: NotRequired[MethodConfig]
    task: NotRequired[TaskConfig]
    backbone: NotRequired[BackboneConfig]
    data: NotRequired[Words]
    optimizer: NotRequired[OptimizerConfig]
    trainer: NotRequired[TrainerConfig]
    batch_size: NotRequired[Annotated[Integer, Gt(0)]]
    sweep: NotRequired[str | None]


@written
class Measures(TypedDict):
    """Measurements of an update. A value is null if the update is not linear."""

    norm: NotRequired[Number | None]
    """The Frobenius norm of the update."""
    effective_rank: NotRequired[Number | None]
    """The exponential of the entropy of the normalised singular values."""
    stable_rank: NotRequired[Number | None]
    """The squared Frobenius norm, divided by the squared spectral norm."""
    drift: NotRequired[Number | None]
    """The squared norm of the change of the layer's output, relative to that of the output, on dev."""


@written
class Learned(Measures):
    """The norm of the whole update, and means over the modules (places)."""

    effective_rank: Number | None  # type: ignore[misc]
    places: NotRequired[Count]
    by_place: NotRequired[dict[str, Measures]]


@written
class Forgetting(TypedDict):
    """The loss of the pretraining objective on held-out text."""

    loss: dict[str, Number | None]
    """The loss for each scale of the update: "0" is the backbone alone, and "1" is the trained model."""
    objective: NotRequired[str]
    text: NotRequired[str]
    texts: NotRequired[Count]
    tokens: NotRequired[Count]
