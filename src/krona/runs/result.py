"""Read and write result.json, which records a run's config, scores and provenance.

``python -m krona.runs.result`` generates docs/result.schema.json from the class `Result`.
"""

import base64
import datetime
import hashlib
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Len

from krona.messages import KronaError
from krona.runs import file_names
from krona.runs import result_schema as parts
from krona.runs.checked_types import CheckedAs, Count, Integer, Positive, find_faults
from krona.safe_files import Write, read_text, write_whole

SCHEMA: Literal[1] = 1
MAX_UNPACKED = 32 << 20  # largest size in bytes of the unpacked predictions of a split: about ten million labels
MAX_FILE = 256 << 20  # largest size in bytes of a result.json
CHECKSUMS = "sha256"  # key of the provenance, which results of earlier versions lack
CHANGED = "is damaged or was changed after the run. Its SHA-256 differs from the one in result.json"
Status = Literal["running", "done", "failed", "interrupted"]


@dataclass
class Result:
    """One run. Scores are 0-100, times are seconds, memory is bytes, epochs count from 1."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "title": "result.json of a run",
        "use_attribute_docstrings": True,
    }

    run_id: Annotated[str, Len(1, 255)]
    """The name of the run's folder: readable words and a hash of config, data and backbone."""
    status: Status
    """If the process of a running run has ended, the same command resumes the run."""
    method: str
    """The name of the YAML in conf/method."""
    task: str
    """The name of the YAML in conf/task."""
    seed: Integer
    """Seed of the new weights, the order of the rows and the dropout."""
    config: Annotated[dict[str, Any], CheckedAs(parts.Config)]
    """All settings of the run, as --cfg job prints them."""
    schema: Literal[1] = SCHEMA
    """The version of these fields."""
    error: str | None = None
    """The error of a failed run, or the lost process of an interrupted run."""
    notes: list[str] = field(default_factory=list)
    """Messages that are important for the score."""
    splits: Annotated[dict[str, dict[str, Any]], CheckedAs(parts.Splits)] = field(default_factory=dict)
    """Rows, fingerprints and faults of the data."""
    trainable_params: Count | None = None
    """Number of trainable parameters without the head."""
    trainable_percent: Positive | None = None
    """Trainable parameters in percent of the backbone's parameters, without the head."""
    head_params: Count | None = None
    """Number of parameters of a head that is new for each task."""
    best_epoch: Count | None = None
    """The earliest epoch with the highest choice on dev; 0 is the untrained model."""
    dev: Annotated[dict[str, Any] | None, CheckedAs(parts.Scored | None)] = None
    """Scores of the best epoch on dev; null until the run is done."""
    test: Annotated[dict[str, Any] | None, CheckedAs(parts.Scored | None)] = None
    """Scores of the best epoch on test; null with score_test=false."""
    dev_curve: Annotated[list[dict[str, Any]], CheckedAs(list[parts.Epoch])] = field(default_factory=list)
    """One row per epoch."""
    progress: Annotated[dict[str, Any], CheckedAs(dict[str, Count])] = field(default_factory=dict)
    """Until the run is done: the last finished epoch, the current step and the number of steps."""
    times: dict[str, Positive] = field(default_factory=dict)
    """The seconds of setup, train, evaluate and total, and examples_per_s in training."""
    peak_memory: dict[str, Count] = field(default_factory=dict)
    """Peak memory of the host, and of the device if there is one."""
    provenance: Annotated[dict[str, Any], CheckedAs(parts.Provenance)] = field(default_factory=dict)
    """Code, machine, versions, backbone and costs."""
    learned: Annotated[dict[str, Any] | None, CheckedAs(parts.Learned | None)] = None
    """Size and rank of the trained update; null without branches."""
    forgetting: Annotated[dict[str, Any] | None, CheckedAs(parts.Forgetting | None)] = None
    """null, except in results of version 0.1."""

    @property
    def epochs(self) -> int:
        """The number of epochs of the whole run. It is less than ``max_epochs`` if ``max_steps`` ends the run first."""
        epoch, step, steps = (int(self.progress.get(key) or 0) for key in ("epoch", "step", "steps"))
        return math.ceil(steps * epoch / step) if step else int(self.config["trainer"]["max_epochs"])

    @property
    def reached(self) -> str:
        """The progress of an unfinished run, such as ``epoch 2 of 20`` or ``before the end of its first epoch``."""
        epoch = int(self.progress.get("epoch") or 0)
        return f"epoch {epoch} of {self.epochs}" if epoch else "before the end of its first epoch"

    def problems(self) -> list[str]:
        """Return a message for each missing score or field of a finished run."""
        if self.status != "done":
            return []
        needed = {"dev": self.dev, "trainable_params": self.trainable_params, "provenance": self.provenance or None}
        if self.config.get("score_test", True):
            needed["test"] = self.test
        return [f"{name} is missing" for name, value in needed.items() if value is None]


def outcomes(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, str]:
    """Return the targets and the predictions of all examples as compressed texts.

    Each text has one line per example. It is compressed with zlib and encoded in base64.
    """
    return {"targets": _pack(targets), "predictions": _pack(predictions)}


def unpack_outcomes(packed: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the lists of targets and predictions that `outcomes` compressed."""
    return unpack(packed["targets"]), unpack(packed["predictions"])


def _pack(values: Sequence[str]) -> str:
    text = "\n".join(value.replace("\n", " ") for value in values)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack(packed: str) -> list[str]:
    """Return one of the lists that `outcomes` compressed."""
    content = zlib.decompressobj()
    text = content.decompress(base64.b64decode(packed), MAX_UNPACKED)
    if content.unconsumed_tail:  # a few kilobytes of a prepared file can unpack to gigabytes
        raise ValueError(f"the outcomes have more than {MAX_UNPACKED >> 20} MiB after unpacking")
    if not content.eof:
        raise ValueError("the outcomes are truncated")
    return text.decode().split("\n")


def write_result(folder: Path, result: Result, write: Write = write_whole) -> Path:
    """Write ``folder/result.json`` atomically and return its path.

    If the result has checksums of other files, the file also contains its own checksum.
    """
    path, content = folder / file_names.RESULT, asdict(result)
    if (sums := content["provenance"].get(CHECKSUMS)) is not None:
        sums[path.name] = ""
        sums[path.name] = _checksum(_as_text(content), "")
    write(path, partial(Path.write_text, data=_as_text(content), encoding="utf-8"))
    return path


def _as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _checksum(text: str, recorded: str) -> str:
    """Return the SHA-256 of a result.json without the checksum that is recorded in it."""
    return hashlib.sha256(text.replace(recorded, "").encode()).hexdigest()


def now() -> str:
    """Return the current time in UTC as text in the format ISO 8601, which results use."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_result(path: Path) -> Result:
    """Read a result.json.

    Raises:
        KronaError: the file is missing, damaged or invalid, or it has another version of the schema.
    """
    try:
        text = read_text(path, limit=MAX_FILE)
        content = _parse(text)
    except FileNotFoundError as error:
        raise KronaError(f"{path} was not found") from error
    except OSError as error:
        raise KronaError(f"{path} can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise KronaError(f"{path} is not a result: {error}") from error
    if not isinstance(content, dict):
        raise KronaError(f"{path} is not a result. Its JSON is a {type(content).__name__}, but must be an object")
    if content.get("schema") != SCHEMA:
        raise KronaError(f"{path} has schema {content.get('schema')!r}, but this version of krona reads {SCHEMA}")
    if faults := find_faults(_model(), content):
        raise KronaError(f"{path} is not a result: {'; '.join(faults)}")
    result = Result(**content)  # `content` also has the keys that later versions added; validation would remove them
    if problems := result.problems():
        raise KronaError(f"{path}: {'; '.join(problems)}")
    if result.run_id != path.parent.name:
        raise KronaError(f"{path} has the run_id {result.run_id}, but its folder has the name {path.parent.name}")
    recorded = (result.provenance.get(CHECKSUMS) or {}).pop(path.name, None)  # missing in results of earlier versions
    if recorded is not None and recorded != _checksum(text, recorded):
        raise KronaError(f"{path} {CHANGED}")
    return result


def _parse(text: str) -> Any:
    """Parse JSON. Raise `ValueError` for NaN, which is not valid JSON, and for a surrogate that can't be encoded."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not a valid number in JSON")

    content = json.loads(text, parse_constant=refuse)
    if "\\u" in text:
        json.dumps(content, ensure_ascii=False).encode()
    return content


@cache
def _model() -> Any:
    from pydantic import TypeAdapter  # pydantic is slow to import, and not needed if the index contains every result

    return TypeAdapter(Result)


def json_schema() -> str:
    """Return the text of docs/result.schema.json, which describes the results that this version of krona writes.

    The schema is stricter than `read_result`. It rejects the results of earlier versions, which lack fields, and the
    results of later versions, which have more keys.
    """
    schema = _model().json_schema()
    schema["required"] = list(schema["properties"])
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


if __name__ == "__main__":
    from krona.paths import PROJECT

    write_whole(PROJECT / "docs" / "result.schema.json", partial(Path.write_text, data=json_schema(), encoding="utf-8"))
