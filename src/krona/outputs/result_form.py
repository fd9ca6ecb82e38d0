"""Form of a result.json: the type of each field that krona reads, as docs/result.schema.json has them.

Further keys are let through in a config, whose form is its composer's, and in what later versions may add to.
"""

from typing import (
    Annotated,
    Any,
    NotRequired,  # pydantic needs this one before Python 3.12
)

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from krona.messages import shortened

Count = Annotated[int, Field(ge=0, lt=2**63)]
Score = Annotated[float, Field(ge=-100.000001, le=100.000001)]
Positive = Annotated[float, Field(ge=0)]
Words = dict[str, Any]
STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
MOST = 3  # faults that a message names


@with_config(STRICT)
class Outcomes(TypedDict):
    targets: str
    predictions: str


@with_config(STRICT)
class Scored(TypedDict):
    score: Score
    choice: NotRequired[Score]
    parts: dict[str, Score]
    outcomes: NotRequired[Outcomes]


@with_config(STRICT)
class Epoch(TypedDict):
    epoch: Count
    step: NotRequired[Count]
    score: NotRequired[Score]
    choice: NotRequired[Score]
    parts: NotRequired[dict[str, Score]]
    loss: NotRequired[float]
    lr: NotRequired[Positive]
    examples_per_s: NotRequired[Positive]
    examples_seen: NotRequired[Count]


@with_config(STRICT)
class Fault(TypedDict):
    kind: str
    rows: Count
    first: str


@with_config(STRICT)
class SplitFacts(TypedDict):
    rows: NotRequired[Count]
    fingerprint: NotRequired[str]
    skipped_rows: NotRequired[Count]
    truncated: NotRequired[Count]
    skipped: NotRequired[list[Fault]]
    empty_texts: NotRequired[Count]
    targets: NotRequired[dict[str, Count]]
    repeated: NotRequired[Count]
    also_in_train: NotRequired[Count]
    also_in_dev: NotRequired[Count]


@with_config(STRICT)
class Splits(TypedDict):
    train: NotRequired[SplitFacts]
    dev: NotRequired[SplitFacts]
    test: NotRequired[SplitFacts]


@with_config(STRICT)
class BackboneFacts(TypedDict):
    architecture: str
    parameters: Count
    sizes: Words


@with_config(STRICT)
class BranchConfig(TypedDict):
    kron_factors: NotRequired[Annotated[list[list[int]], Field(min_length=1)] | None]


@with_config(STRICT)
class Provenance(TypedDict):
    backbone: NotRequired[BackboneFacts]
    backbone_fingerprint: NotRequired[str]
    branch_config: NotRequired[BranchConfig]
    method_defaults: NotRequired[Words]
    official_rows: NotRequired[dict[str, Annotated[list[Count], Field(min_length=2, max_length=2)]]]
    data_kind: NotRequired[str]
    pretrained: NotRequired[bool]
    update_rank: NotRequired[Count | None]
    multiply_adds: NotRequired[Count]
    launches: NotRequired[Count]
    sha256: NotRequired[dict[str, str]]
    versions: NotRequired[dict[str, str]]


@with_config(STRICT)
class Method(TypedDict):
    name: str
    kron_factors: NotRequired[list[list[int]] | None]


@with_config(STRICT)
class TaskWords(TypedDict):
    name: NotRequired[str]
    metrics: Annotated[list[str], Field(min_length=1)]
    score: NotRequired[list[str] | None]
    labels: NotRequired[list[Any] | dict[str, int] | None]


@with_config(STRICT)
class Named(TypedDict):
    name: str | None


@with_config(STRICT)
class Optimizer(TypedDict):
    lr: float
    warmup_steps: NotRequired[int | float]


@with_config(STRICT)
class Trainer(TypedDict):
    max_epochs: Annotated[int, Field(ge=-1, lt=2**31)]
    max_steps: NotRequired[int]


@with_config(STRICT)
class Config(TypedDict):
    method: NotRequired[Method]
    task: NotRequired[TaskWords]
    backbone: NotRequired[Named]
    data: NotRequired[Words]
    optimizer: NotRequired[Optimizer]
    trainer: NotRequired[Trainer]
    batch_size: NotRequired[Annotated[int, Field(gt=0)]]
    sweep: NotRequired[str | None]


@with_config(STRICT)
class Learned(TypedDict):
    effective_rank: float | None


@with_config(STRICT)
class Forgetting(TypedDict):
    loss: dict[str, float | None]


@with_config(STRICT)
class Form(TypedDict):
    run_id: Annotated[str, Field(min_length=1, max_length=255)]
    status: str
    method: str
    task: str
    seed: int
    config: Config
    error: NotRequired[str | None]
    notes: NotRequired[list[str]]
    splits: NotRequired[Splits]
    trainable_params: NotRequired[Count | None]
    trainable_percent: NotRequired[Positive | None]
    head_params: NotRequired[Count | None]
    best_epoch: NotRequired[Count | None]
    dev: NotRequired[Scored | None]
    test: NotRequired[Scored | None]
    dev_curve: NotRequired[list[Epoch]]
    progress: NotRequired[dict[str, Count]]
    times: NotRequired[dict[str, Positive]]
    peak_memory: NotRequired[dict[str, Count]]
    learned: NotRequired[Learned | None]
    forgetting: NotRequired[Forgetting | None]
    provenance: NotRequired[Provenance]


FORM: TypeAdapter[Any] = TypeAdapter(Form)


def faults(content: dict[str, Any]) -> list[str]:
    """What is wrong with the types of a result's fields, a few in words; empty where nothing is."""
    try:
        FORM.validate_python(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        words = [_words(one["loc"], one["msg"], one.get("input")) for one in found[:MOST]]
        return words + ([f"{len(found) - MOST} more"] if len(found) > MOST else [])
    return []


def _words(place: tuple[int | str, ...], message: str, value: Any) -> str:
    said = message.removeprefix("Input ")
    return f"{shortened('.'.join(map(str, place)))} is {shortened(repr(value))}: {said}"
