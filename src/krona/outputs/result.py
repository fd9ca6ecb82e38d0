"""result.json: a run's config, scores and provenance, written whole or not at all.

The fields are described in docs/results-schema.md; `Result.problems` checks them.
"""

import base64
import datetime
import json
import math
import stat
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from krona.files import Write, write_whole
from krona.messages import KronaError

SCHEMA = 1
UNPACKED = 32 << 20  # bytes of a split's answers: ten million labels
FILE = 256 << 20  # bytes of a result.json
Status = Literal["running", "done", "failed", "interrupted"]


@dataclass
class Result:
    """One run. Scores are 0-100, times seconds, memory bytes, epochs count from 1."""

    run_id: str
    status: Status
    method: str
    task: str
    seed: int
    config: dict[str, Any]
    schema: int = SCHEMA
    error: str | None = None  # why it failed; of an interrupted one, which of its processes was lost
    notes: list[str] = field(default_factory=list)  # what a reader of its score should know
    # of train, dev and test: rows, fingerprint, truncated, bad rows, targets, repeated texts (`tasks.Splits.facts`)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    trainable_params: int | None = None
    trainable_percent: float | None = None  # of the backbone before insertion
    head_params: int | None = None  # of a head that is new on each task; not among trainable_params
    best_epoch: int | None = None  # the earliest with the best dev choice; 0 is the untrained model
    dev: dict[str, Any] | None = None  # of the best epoch: score, choice, parts, outcomes
    test: dict[str, Any] | None = None  # the same, looked at once
    # a row an epoch: epoch, step, loss, lr, score, choice, parts, examples_per_s, examples_seen
    dev_curve: list[dict[str, Any]] = field(default_factory=list)
    progress: dict[str, Any] = field(default_factory=dict)  # until it is done: epoch, step, steps in all
    times: dict[str, float] = field(default_factory=dict)  # setup, train, evaluate, total, examples_per_s
    peak_memory: dict[str, int] = field(default_factory=dict)  # host, and device where there is one
    provenance: dict[str, Any] = field(default_factory=dict)
    learned: dict[str, Any] | None = None  # of the updates: norm, ranks, drift; null without branches, and before them
    forgetting: dict[str, Any] | None = None  # of held-out text, by scale of the update; null where not measured

    @property
    def epochs(self) -> int:
        """How many epochs the run has in all: fewer than ``max_epochs`` where ``max_steps`` ends it first."""
        epoch, step, steps = (int(self.progress.get(key) or 0) for key in ("epoch", "step", "steps"))
        return math.ceil(steps * epoch / step) if step else int(self.config["trainer"]["max_epochs"])

    @property
    def reached(self) -> str:
        """How far a run is that has not finished: ``epoch 2 of 20``, or ``before the end of its first epoch``."""
        epoch = int(self.progress.get("epoch") or 0)
        return f"epoch {epoch} of {self.epochs}" if epoch else "before the end of its first epoch"

    def problems(self) -> list[str]:
        """What is wrong with this result, in words; empty where nothing is."""
        found = []
        if self.schema != SCHEMA:
            found.append(f"schema {self.schema} (this version reads {SCHEMA})")
        if self.status not in get_args(Status):
            found.append(f"status {self.status!r}")
        if self.status == "done":
            for name in ("dev", "test") if self.config.get("score_test", True) else ("dev",):
                part = getattr(self, name)
                score = part.get("score") if isinstance(part, dict) else None
                if not isinstance(score, int | float) or not math.isfinite(score):
                    found.append(f"{name}.score {score!r} is no number")
            found += [
                f"{name} is missing"
                for name in ("trainable_params", "provenance")
                if not getattr(self, name) and getattr(self, name) != 0
            ]
        return found


def outcomes(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, str]:
    """Each example's target and prediction, packed small: zlib, then base64, of one string a line."""
    return {"targets": _pack(targets), "predictions": _pack(predictions)}


def unpack_outcomes(packed: dict[str, str]) -> tuple[list[str], list[str]]:
    """The targets and predictions of `outcomes`."""
    return _unpack(packed["targets"]), _unpack(packed["predictions"])


def _pack(values: Sequence[str]) -> str:
    text = "\n".join(value.replace("\n", " ") for value in values)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _unpack(packed: str) -> list[str]:
    content = zlib.decompressobj()
    text = content.decompress(base64.b64decode(packed), UNPACKED)
    if content.unconsumed_tail:  # a few kilobytes can hold gigabytes
        raise ValueError(f"its outcomes unpack to more than {UNPACKED >> 20} MiB")
    if not content.eof:
        raise ValueError("its outcomes are cut short")
    return text.decode().split("\n")


def write_result(folder: Path, result: Result, write: Write = write_whole) -> Path:
    """``folder/result.json``, whole or not at all."""
    path = folder / "result.json"
    text = json.dumps(asdict(result), indent=1, ensure_ascii=False, allow_nan=False)
    write(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))
    return path


def now() -> str:
    """The time as results tell it: UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _read_json(path: Path) -> Any:
    """A file's JSON, without what JSON does not have (NaN) and what can't be shown (half a surrogate pair)."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is no plain file")
    if about.st_size > FILE:
        raise ValueError(f"it has {about.st_size:,} bytes")

    def no_number(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    text = path.read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=no_number)
    if "\\u" in text:
        json.dumps(content, ensure_ascii=False).encode()
    return content


def read_result(path: Path) -> Result:
    """One result.json. Truncated, hand-edited or of another schema: an error that says which."""
    try:
        content = _read_json(path)
    except FileNotFoundError as error:
        raise KronaError(f"{path} is not there") from error
    except OSError as error:
        raise KronaError(f"{path} can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise KronaError(f"{path} is not a result: {error}") from error
    if not isinstance(content, dict):
        raise KronaError(f"{path} is not a result: its JSON is a {type(content).__name__}, not an object")
    if content.get("schema") != SCHEMA:
        raise KronaError(f"{path} has schema {content.get('schema')!r}; this version reads {SCHEMA}")
    missing = {"run_id", "status", "method", "task", "seed", "config"} - content.keys()
    unknown = content.keys() - {f.name for f in fields(Result)}
    if missing or unknown:
        raise KronaError(f"{path}: missing {sorted(missing)}, unknown {sorted(unknown)}")
    from krona.outputs.result_form import faults  # pydantic: not where the index knows every result

    if wrong := faults(content):
        raise KronaError(f"{path} is not a result: {'; '.join(wrong)}")
    result = Result(**content)
    if problems := result.problems():
        raise KronaError(f"{path}: {'; '.join(problems)}")
    if result.run_id != path.parent.name:
        raise KronaError(f"{path} says run_id {result.run_id}, its folder says {path.parent.name}")
    return result
