"""Read the runs of a report, and check them against their predictions."""

import gc
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from krona.messages import KronaError, amount
from krona.metrics.scores.metric import Answers
from krona.report.computed_values import ComputedValues, SharedParts
from krona.report.sections import Section, find_section
from krona.runs import file_names
from krona.runs.folder import RunFolder
from krona.runs.index import summaries
from krona.runs.predictions import check_answers, score_metrics, unusable_result
from krona.runs.result import Result, read_result
from krona.runs.run_id import as_text, canonical
from krona.runs.suspicious_scores import Remark, remarks

UNFINISHED = ("failed", "interrupted", "running")  # states of runs
SPLITS = ("train", "dev", "test")
DATA = (*(f"{name} set" for name in SPLITS), "rows left out")
KEYS = ("method", "task", "seed", "state", "sweep", "run", "any key of the config")  # suggestions for --where
OF_METHOD = ("method.", "optimizer.lr")  # beginnings of the settings in which compared methods may differ
OF_TRAINING = ("trainer.", "optimizer.", "scheduler", "batch_size", "micro_batch_size", "data.train_rows", "train set")
NO_SETTING = ("seed", "score_test")  # keys of the config that do not distinguish variants


class Common(NamedTuple):
    """The properties that are equal for runs that differ only in the seed."""

    flat: list[dict[str, str]]  # the settings of each part of the config; equal parts are one object
    content: dict[str, str | None]  # fingerprints of the data and the backbone, and number of bad rows; None: unknown
    variant: tuple[Any, ...]  # a key that is equal for runs with equal settings


@dataclass(eq=False)
class StoredRun:
    """A result and the section of the report that it belongs to."""

    result: Result  # a summary, without outcomes and with only the last epoch of the dev curve
    section: Section
    path: Path  # of its result.json
    shared: SharedParts = field(default_factory=SharedParts)

    @property
    def whole(self) -> Result:
        """The complete result. Raises KronaError if result.json was removed or is damaged."""
        return read_result(self.path)

    @cached_property
    def digest(self) -> str:
        """A hash of result.json. Raises KronaError if the file was removed."""
        try:
            return blake2b(self.path.read_bytes(), digest_size=16).hexdigest()
        except OSError as error:
            raise KronaError(f"{self.path} can't be read: {error.strerror or error}") from error

    @cached_property
    def predictions(self) -> tuple[dict[str, Answers], dict[str, list[Remark]]]:
        """A finished run's answers by split, as `check_answers` returns them, and the remarks on its scores."""
        whole = self.whole
        answers = check_answers(whole, self.path)
        return answers, {split: remarks(whole, answers, split) for split in SPLITS[1:]}

    @property
    def settings(self) -> dict[str, str]:
        """A dict from dotted keys to values, without the seed. Runs with different settings are different variants."""
        found = {key: value for part in self.common.flat for key, value in part.items()}
        return {**found, **{key: value for key, value in self.content.items() if value is not None}}

    def setting(self, key: str) -> str | None:
        """Return the value of a key of `settings` or of the config. Return None if the run does not have this key."""
        first, *path = key.split(".")
        flat = self._flatten(first) if first in self.result.config else {}
        if key in flat or key in self.content:
            return flat.get(key, self.content.get(key))
        value: Any = self.result.config.get(first)
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        return None if value is None or isinstance(value, Mapping) else as_text(canonical(value))

    @property
    def content(self) -> dict[str, str | None]:
        return self.common.content

    @cached_property
    def common(self) -> Common:
        """The values that do not depend on the seed. Runs with the same config and data have the same object."""
        result = self.result
        config = {key: value for key, value in result.config.items() if key not in NO_SETTING}
        parts = [*config.values(), result.splits, result.provenance]
        key = (result.method, result.task, self._draws_rows, *config, *map(id, parts))
        found: Common = self.shared.compute(key, parts, lambda: self._describe(sorted(config)))
        return found

    def _describe(self, names: list[str]) -> Common:
        flat = [part for key in names if (part := self._flatten(key))]
        splits = self.result.splits
        found = {f"{name} set": splits.get(name, {}).get("fingerprint") for name in SPLITS}
        counts = {name: splits.get(name, {}).get("skipped_rows") for name in SPLITS}
        skipped = [f"{count} of {name}" for name, count in counts.items() if count]
        found["rows left out"] = (" and ".join(skipped) or "none") if splits else None
        if self._draws_rows:
            found["train set"] = "drawn by seed"
        found["backbone content"] = self.result.provenance.get("backbone_fingerprint")
        found["own code"] = " ".join((self.result.provenance.get("own_code") or {}).values()) or "none"
        return Common(flat, found, (*map(id, flat), *(item for item in found.items() if item[1] is not None)))

    @property
    def _draws_rows(self) -> bool:
        """Whether the run's seed also draws its subset of the training rows."""
        data = self.result.config.get("data") or {}
        return data.get("subset_seed") == self.result.seed and _subset(self.result) not in self.shared.fixed_subsets

    def _flatten(self, key: str) -> dict[str, str]:
        part = self.result.config[key]
        if key == "method":  # completed with the default arguments that the run recorded
            both = part, self.result.provenance
            defaults = self.result.provenance.get("method_defaults") or {}
            part = self.shared.compute(("method", *map(id, both)), both, lambda: {**defaults, **part})
        elif key == "data" and self._draws_rows:
            part = self.shared.compute(("drawn rows", id(part)), part, lambda: {**part, "subset_seed": None})
        return self.shared.flatten(key, part)

    @property
    def sweep(self) -> str | None:
        return self.result.config.get("sweep")

    @cached_property
    def status(self) -> str:
        """The current status of the run. A run whose process has died is ``interrupted``."""
        return "done" if self.result.status == "done" else RunFolder(self.path.parent).status(self.result)

    def score(self, split: str) -> float | None:
        part = getattr(self.result, split)
        return float(part["score"]) if self.result.status == "done" and part else None

    @property
    def metrics(self) -> list[str]:
        return score_metrics(self.result.config["task"])

    @property
    def has_prefix(self) -> bool:
        """True if the texts begin with the task's name. They have other fingerprints than texts without it."""
        task, method = self.result.config["task"], self.result.config["method"]
        given = task.get("prefix")
        return bool(method.get("task_prefix") if given is None else given)


def differing_data(runs: Sequence[StoredRun]) -> list[str]:
    """Return the properties in which the data of runs differ from those of the first, such as ``train set``.

    Unknown values do not count as different.
    """
    found: dict[str, None] = {}
    for run in runs[1:]:
        pairs = [(key, runs[0].content[key], run.content[key]) for key in DATA if run.has_prefix == runs[0].has_prefix]
        found |= {key: None for key, x, y in pairs if x != y and None not in (x, y)}
    return [*found]


def differing_training(a: StoredRun, b: StoredRun) -> list[str]:
    """Return the settings in which the training of two runs differs. Runs are compared only if there are none.

    The method, its hyper-parameters and the learning rate may differ. Unknown values do not count as different.
    """
    sides = [run.settings for run in (a, b)]
    untrained = any(run.setting("trainer.max_epochs") == "0" for run in (a, b))
    unknown = {key for run in (a, b) for key, value in run.content.items() if value is None}
    if a.has_prefix != b.has_prefix:
        unknown |= {f"{name} set" for name in SPLITS}
    return [
        key
        for key in dict.fromkeys([*sides[0], *sides[1]])
        if sides[0].get(key) != sides[1].get(key)
        and key not in unknown
        and not key.startswith(OF_METHOD)
        and not (untrained and key.startswith(OF_TRAINING))
    ]


def format_differing(keys: Sequence[str]) -> str:
    """Return text such as ``train set and dev set differ``."""
    return f"{' and '.join(keys)} {'differs' if len(keys) == 1 else 'differ'}"


def load_runs(outputs: Sequence[Path], computed: ComputedValues | None = None) -> tuple[list[StoredRun], list[str]]:
    """Return all readable runs under these folders, and a sentence for each file that can't be used.

    The runs read and store expensive values in ``computed``. Raise KronaError if one of the folders does not exist.
    """
    runs: dict[str, StoredRun] = {}
    problems: list[str] = []
    clashes: set[str] = set()
    shared = SharedParts(computed)
    for folder in outputs:
        if not folder.is_dir():
            raise KronaError(f"The folder {folder} was not found. Runs are in outputs/<run id>/result.json.")
        for found in summaries(folder):
            try:
                if isinstance(found, KronaError):
                    raise found
                run = stored_run(found, folder / found.run_id / file_names.RESULT, shared)
            except KronaError as error:
                problems.append(str(error))
                continue
            other = runs.setdefault(found.run_id, run)
            if other is not run and other.whole != run.whole:
                clashes.add(found.run_id)
                problems.append(f"{run.path} and {other.path} are different results of one run. Neither is used.")
    gc.freeze()  # the results stay in use, so the garbage collector need not check them again
    return [run for name, run in runs.items() if name not in clashes], problems


def stored_run(result: Result, path: Path, shared: SharedParts | None = None) -> StoredRun:
    """Return a result and its section of the report. Raise KronaError if the config or provenance can't be used."""
    shared = shared or SharedParts()
    try:
        parts = [*map(result.config.get, ("task", "backbone", "data")), result.provenance, result.splits]
        if (result.config.get("data") or {}).get("subset_seed") not in (None, result.seed):
            shared.fixed_subsets.add(_subset(result))
        key = (result.status == "done", *map(id, parts))
        return StoredRun(result, shared.compute(key, parts, lambda: find_section(result)), path, shared)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise unusable_result(path, error) from error


def _subset(result: Result) -> tuple[Any, ...]:
    """Return what identifies the subset of the training rows of a method on a task."""
    data = result.config["data"]
    return result.method, result.task, data.get("train_rows"), data["subset_seed"]


def finished(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Return the runs that have finished, in the same order."""
    return [run for run in runs if run.status == "done"]


def one_of_each(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Return one run, the first, for each value of `StoredRun.common`."""
    found: dict[int, StoredRun] = {}
    for run in runs:
        found.setdefault(id(run.common), run)
    return list(found.values())


def filter_value(run: StoredRun, key: str) -> str | None:
    """Return the value of a run's key for `krona.runs.filters.filter_runs`. Keys of the config work too."""
    if key in ("method", "task", "seed"):
        return str(getattr(run.result, key))
    if key in ("run", "run_id"):
        return run.result.run_id
    if key in ("sweep", "status", "state"):  # krona status and krona list name the status "state"
        return str(run.sweep if key == "sweep" else run.status)
    return run.setting(key) or run.setting(f"method.{key}")


def count_states(runs: Iterable[StoredRun], waiting: int) -> str:
    """Return text such as ``4 runs: 2 done, 1 failed, 1 waiting``."""
    counts = Counter([*(run.status for run in runs), *["waiting"] * waiting])
    states = ", ".join(f"{counts[state]} {state}" for state in ("done", *UNFINISHED, "waiting") if counts[state])
    return f"{amount(counts.total(), 'run')}: {states}" if states else "0 runs"


def count_unfinished(runs: Iterable[StoredRun]) -> str:
    """Return text such as ``1 failed, 2 running``. It is empty if all runs have finished."""
    counts = Counter(run.status for run in runs)
    return ", ".join(f"{counts[status]} {status}" for status in UNFINISHED if counts[status])
