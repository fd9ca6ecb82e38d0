"""Name the files of a run, and define, read and write result.json: the run's settings, scores and provenance.

``python -m krona.runs.result`` generates docs/result.schema.json from the class `Result`.
"""

import datetime
import json
import math
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic requires this TypedDict before Python 3.12

from krona.messages import KronaError, format_validation_error
from krona.safe_files import Write, write_text, write_whole

RESULT = "result.json"
ADAPTER = "adapter.safetensors"
PREDICTIONS = "predictions.jsonl"
METRICS = "metrics.csv"
CHECKPOINT = "last.ckpt"
LOG = "train.log"
HYDRA = ".hydra"  # the folder for Hydra's files
WRITTEN = (CHECKPOINT, f"{CHECKPOINT}.damaged", ADAPTER, PREDICTIONS, METRICS, LOG, RESULT)  # the files of a run

CHECKSUMS: Final = "sha256"  # key of the provenance
CHANGED = "is damaged or was changed after the run. Its SHA-256 differs from the one in result.json"
# Unknown keys are accepted, so that results of later versions can be read.
CHECKED = ConfigDict(strict=True, allow_inf_nan=False, use_attribute_docstrings=True)
PART = ConfigDict(**CHECKED, extra="allow", json_schema_extra={"additionalProperties": False})

Status = Literal["running", "done", "failed", "interrupted"]  # the states that result.json records
# All states of a run, in the order of tables: ``done already``: before the command; ``waiting``: not started;
# ``damaged``: result.json cannot be read; ``wrong``: the config is invalid.
State = Literal["done", "done already", "running", "interrupted", "waiting", "failed", "damaged", "wrong"]
DataKind = Literal["glue", "superglue", "sample", "own"]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(ge=0)]
Score = Annotated[float, Field(ge=-100.000001, le=100.000001)]
Finite = Annotated[float, Field(allow_inf_nan=False)]  # a metric of the library evaluate has its own range


@with_config(PART)
class TableRow(TypedDict):
    """A row of a table that compares methods."""

    label: str
    """The method's label, with the settings in parentheses."""
    settings: dict[str, str]
    """The settings that the run's command varied, except method, task and seed, and its variant."""


@with_config(PART)
class Scored(TypedDict):
    """Scores of a split at the best epoch. The maximum is 100."""

    score: Score
    """The score that tables show."""
    choice: NotRequired[Score]
    """The mean of the metrics that select the epoch."""
    parts: dict[str, Finite]
    """The value of each metric."""


@with_config(PART)
class Epoch(TypedDict):
    """One epoch, with scores on dev. Epoch 0 is the untrained model, which has no training values."""

    epoch: Count
    step: NotRequired[Count]
    """Number of optimizer steps since the start of the run."""
    score: NotRequired[Score]
    choice: NotRequired[Score]
    parts: NotRequired[dict[str, Finite]]
    loss: NotRequired[float]
    """The mean training loss of the epoch."""
    lr: NotRequired[Positive]
    """The learning rate at the last step."""
    lr_by_group: NotRequired[dict[str, Positive]]
    """The learning rates of the groups in optimizer.lr_factors at the last step."""
    examples_per_s: NotRequired[Positive]
    examples_seen: NotRequired[Count]


@with_config(PART)
class SplitData(TypedDict):
    """The rows of a split."""

    rows: NotRequired[Count]
    fingerprint: NotRequired[str]
    """A hash of the ids and texts."""
    skipped_rows: NotRequired[Count]
    """Number of bad rows that were skipped (data.skip_bad_rows=true)."""
    truncated: NotRequired[Count]
    """Number of source texts that were cut to max_source_length."""
    empty_texts: NotRequired[Count]
    targets: NotRequired[dict[str, Count]]
    """Number of rows with each target text."""
    repeated: NotRequired[Count]
    """Number of rows whose source text occurs earlier in the same split."""
    also_in_train: NotRequired[Count]
    """Number of rows whose source text is also in train."""
    also_in_dev: NotRequired[Count]
    """Number of rows whose source text is also in dev."""


@with_config(PART)
class BackboneData(TypedDict):
    """Properties of the backbone."""

    architecture: str
    parameters: Count
    """Number of parameters without the branches."""
    sizes: dict[str, Any]


@with_config(PART)
class Search(TypedDict):
    """The search that chose the settings of a run (recipe=tuned), with the dev scores of its best two trials."""

    trials: Count
    seeds: Count
    """Number of seeds of each trial."""
    best: Score
    second: Score | None
    """Null if only one trial is finished."""


@with_config(PART)
class Provenance(TypedDict):
    """The code, the machine and the libraries of a run. Only ``own_code`` is part of the run id."""

    git_commit: NotRequired[str | None]
    git_dirty: NotRequired[bool | None]
    git_code: NotRequired[str | None]
    """The last commit that changed src, conf or train.py."""
    git_src: NotRequired[str | None]
    """Git's hash of the tree of src in this commit, as printed by ``git rev-parse HEAD:src``."""
    git_conf: NotRequired[str | None]
    """Git's hash of the tree of conf."""
    search: NotRequired[Search]
    own_code: NotRequired[dict[str, str]]
    """Hashes of the user's own modules that the config names, and of the modules of their folder that they import."""
    method_code: NotRequired[str]
    """Hash of the file that defines the method's class."""
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str]
    devices: NotRequired[Count]
    """Number of processes, one for each device."""
    threads: NotRequired[Count]
    """Number of CPU threads of each process."""
    scoring_precision: NotRequired[str]
    """trainer.precision of the forward passes that predict dev and test. Runs without this value used fp32."""
    threshold: NotRequired[float]
    """In a multi-label task, the probability above which a label is predicted; chosen on dev."""
    load: NotRequired[list[Positive]]
    """The machine's load average over one minute at the start and at the end of the run, divided by its CPU cores."""
    host: NotRequired[str]
    backbone: NotRequired[BackboneData]
    """Architecture, sizes, and number of parameters without the branches."""
    data_fingerprint: NotRequired[str]
    backbone_fingerprint: NotRequired[str]
    pretrained: NotRequired[bool]
    """False if the backbone has random weights."""
    official_rows: NotRequired[dict[str, list[Count]]]
    """For each split of GLUE and SuperGLUE: the number of usable rows and the official number of rows."""
    branch_config: NotRequired[dict[str, Any]]
    """Arguments of the branches."""
    method_defaults: NotRequired[dict[str, Any]]
    """Default values of arguments that the config does not set."""
    update_rank: NotRequired[Count | None]
    """The highest rank that a layer's update can have; null if the update is not linear."""
    mergeable: NotRequired[bool]
    """Whether the branches can be merged into the weights, as for ``krona export --to merged``."""
    multiply_adds: NotRequired[Count]
    """Number of multiply-adds of the unmerged branches for one token."""
    launches: NotRequired[Count]
    """Number of operations that the unmerged branches add to a forward pass."""
    sha256: NotRequired[dict[str, str]]
    """Checksums of the adapter and the predictions."""
    started: NotRequired[str]
    finished: NotRequired[str]


class Result(BaseModel):
    """One run. Scores are in points (maximum 100), times in seconds, memory in bytes. Epochs count from 1."""

    model_config = ConfigDict(**CHECKED, extra="ignore", title="result.json of a run")

    run_id: str
    """The name of the run's folder, which ends with a hash of config, data and backbone."""
    status: Status
    """The state of the run."""
    method: str
    """The name of the YAML in conf/method."""
    task: str
    """The name of the YAML in conf/task."""
    seed: int
    """Seed of new weights, row order and dropout."""
    config: dict[str, Any]
    """All settings of the run, as --cfg job prints them."""
    row: TableRow
    """The row of a comparison to which the run belongs."""
    data_kind: DataKind
    """Benchmark, generated sample data, or own data."""
    departures: list[str] | None = None
    """Differences from the paper's protocol; null without GLUE."""
    error: str | None = None
    """Why the run failed or was interrupted."""
    notes: list[str] = []
    """Messages about the data and the score."""
    splits: dict[str, SplitData] = {}
    """Rows, fingerprints and bad rows of train, dev and test."""
    trainable_params: Count | None = None
    """Number of trainable parameters without the head."""
    trainable_percent: Positive | None = None
    """``trainable_params`` in percent of the backbone's parameters."""
    head_params: Count | None = None
    """Number of parameters of the new head."""
    best_epoch: Count | None = None
    """The earliest epoch with the highest ``choice`` on dev; 0: the untrained model."""
    dev: Scored | None = None
    """Scores of the best epoch on dev; null until the run is done."""
    test: Scored | None = None
    """Scores of the best epoch on test; null with score_test=false."""
    dev_curve: list[Epoch] = []
    """One row per epoch."""
    progress: dict[str, Count] = {}
    """For an unfinished run: the last finished epoch, the current step and the number of steps."""
    times: dict[str, Positive] = {}
    """Seconds of setup, train, evaluate, total and train_cpu (processor time), and the speed examples_per_s."""
    peak_memory: dict[str, Count] = {}
    """Peak memory of the process on the host and, with CUDA, of torch's tensors on the device."""
    provenance: Provenance = {}
    """Code, machine, versions, backbone and costs."""

    @property
    def reached(self) -> str:
        """The progress of an unfinished run, such as ``epoch 2 of 20`` or ``before the end of its first epoch``."""
        epoch, step, steps = (self.progress.get(key, 0) for key in ("epoch", "step", "steps"))
        if not epoch or not step:
            return "before the end of its first epoch"
        return f"epoch {epoch} of {math.ceil(steps * epoch / step)}"  # max_steps may end the run before max_epochs


def read_result(path: Path) -> Result:
    """Read a result.json.

    Raises:
        KronaError: the file is missing, damaged or not a result, or its run id is not the folder's name.
    """
    try:
        result = Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise KronaError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValidationError as error:
        raise KronaError(f"{path} is not a result of krona: {format_validation_error(error)}.") from error
    if result.run_id != path.parent.name:
        raise KronaError(f"{path} has the run_id {result.run_id}, but its folder has the name {path.parent.name}.")
    if result.status == "done":
        needed = ["dev", "trainable_params"] + ["test"] * bool(result.config.get("score_test", True))
        if missing := [name for name in needed if getattr(result, name) is None]:
            raise KronaError(f"{path} is not the result of a finished run: {', '.join(missing)} is missing.")
    return result


def write_result(folder: Path, result: Result, write: Write = write_whole) -> Path:
    """Write ``folder/result.json`` atomically and return its path."""
    path = folder / RESULT
    text = json.dumps(result.model_dump(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, write)
    return path


def now() -> str:
    """Return the current UTC time in ISO 8601 format."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def json_schema() -> str:
    """Return the text of docs/result.schema.json, which describes the results of this version of krona."""
    schema = Result.model_json_schema()
    schema["required"] = list(schema["properties"])
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


if __name__ == "__main__":
    from krona.paths import PROJECT

    write_text(PROJECT / "docs" / "result.schema.json", json_schema())
