"""Read the runs of a report, check them against their predictions, and filter them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.metrics.answers import Answers
from krona.report.sections import Section, find_section
from krona.runs.folder import RunFolder
from krona.runs.index import summaries
from krona.runs.predictions import check_answers, score_metrics, unusable_result
from krona.runs.result import Result, read_result
from krona.runs.run_id import as_text, canonical, flatten

UNFINISHED = ("failed", "interrupted", "running")  # states of runs
SPLITS = ("train", "dev", "test")
CHANGED = object()  # a default that is not the same in all results
NO_SETTING = ("seed", "score_test")  # they do not change what is trained


class SharedParts:
    """Values computed once from parts of configs that many results share, and the default arguments of methods.

    A report reads many thousands of results; equal parts of their configs are mostly one object.
    """

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Any, Any]] = {}
        self._flat: dict[Any, dict[str, str]] = {}
        self._defaults: dict[str, dict[str, Any]] = {}

    def compute(self, key: Any, part: Any, make: Callable[[], Any]) -> Any:
        """Return what ``make`` gives for ``key``, which holds the ids of ``part``. The parts are kept alive."""
        if key not in self._known:
            self._known[key] = (part, make())
        return self._known[key][1]

    def flatten(self, key: str, part: Any) -> dict[str, str]:
        """Return the settings of a part of a config by their dotted keys; one object for equal settings."""
        found: dict[str, str]
        found = self.compute((key, part.__class__, _identity(part)), part, lambda: self._flatten(key, part))
        return found

    def _flatten(self, key: str, part: Any) -> dict[str, str]:
        plain = canonical({key: part})
        settings = dict(flatten(plain)) if plain else {}  # such as a linear schedule, which is the default
        return self._flat.setdefault(tuple(sorted(settings.items())), settings)

    def learn_defaults(self, result: Result) -> None:
        """Take the default arguments of its method that a result records; one that differs between results is lost."""
        known = self._defaults.setdefault(_branch_class(result.config["method"]), {})
        for key, value in (result.provenance.get("method_defaults") or {}).items():
            if known.setdefault(key, value) != value:
                known[key] = CHANGED

    def fill_in(self, method: Mapping[str, Any]) -> dict[str, Any]:
        """Return a method's settings with its defaults."""
        known = self._defaults.get(_branch_class(method), {})
        return {**{key: value for key, value in known.items() if value is not CHANGED}, **method}


@dataclass(eq=False)
class StoredRun:
    """One result and the table that it belongs to."""

    result: Result  # a summary: without outcomes, and of the curve the last epoch
    section: Section
    place: str  # its result.json
    shared: SharedParts = field(default_factory=SharedParts)

    @property
    def path(self) -> Path:
        return Path(self.place)

    @cached_property
    def whole(self) -> Result:
        """All of the file. Raises KronaError if it was removed or damaged."""
        return read_result(self.path)

    @cached_property
    def packed(self) -> dict[str, Answers]:
        """Split -> predictions as numbers; empty if the run is not done."""
        return check_answers(self.whole, self.path) if self.result.status == "done" else {}

    @property
    def settings(self) -> dict[str, str]:
        """All that makes this run another variant: dotted key -> value, without the seed."""
        found = {key: value for part in self._parts for key, value in part.items()}
        return {**found, **{key: value for key, value in self.content.items() if value is not None}}

    def setting(self, key: str) -> str | None:
        """Return one of `settings`, or another key of the config; None where the run has no such key."""
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
        """The fingerprints of what was read, and how many bad rows were left out; None for what is not known.

        A training set that is drawn anew with each seed has no fingerprint of its own.
        """
        splits = self.result.splits
        found = {f"{name} set": splits.get(name, {}).get("fingerprint") for name in SPLITS}
        counts = {name: splits.get(name, {}).get("skipped_rows") for name in SPLITS}
        skipped = [f"{count} of {name}" for name, count in counts.items() if count]
        found["rows left out"] = (" and ".join(skipped) or "none") if splits else None
        if self._draws_rows:
            found["train set"] = "drawn by seed"
        return {**found, "backbone content": self.result.provenance.get("backbone_fingerprint")}

    @cached_property
    def variant(self) -> tuple[Any, ...]:
        """A key that is equal for runs with equal `settings`."""
        return (*self.asked, *(f"{key}={value}" for key, value in self.content.items() if value is not None))

    @cached_property
    def asked(self) -> tuple[int, ...]:
        """`variant` without the content of files."""
        return tuple(map(id, self._parts))

    @property
    def _parts(self) -> list[dict[str, str]]:
        keys = [key for key in sorted(self.result.config) if key not in NO_SETTING]
        return [flat for key in keys if (flat := self._flatten(key))]

    @property
    def _draws_rows(self) -> bool:
        return (self.result.config.get("data") or {}).get("subset_seed") == self.result.seed is not None

    def _flatten(self, key: str) -> dict[str, str]:
        part = self.result.config[key]
        if key == "method":
            part = self.shared.compute(("method", id(part)), part, lambda: self.shared.fill_in(part))
        elif key == "data" and self._draws_rows:
            part = self.shared.compute(("data", id(part)), part, lambda: {**part, "subset_seed": None})
        return self.shared.flatten(key, part)

    @property
    def sweep(self) -> str | None:
        return self.result.config.get("sweep")

    @cached_property
    def status(self) -> str:
        """The result's status as of now: a run whose process has died is interrupted."""
        return RunFolder(self.path.parent).status(self.result)

    def score(self, split: str) -> float | None:
        part = getattr(self.result, split)
        return float(part["score"]) if self.result.status == "done" and part else None

    @property
    def metrics(self) -> list[str]:
        return score_metrics(self.result.config["task"])


def _identity(part: Any) -> Any:
    return id(part) if isinstance(part, Mapping | list) else part


def _branch_class(method: Mapping[str, Any]) -> str:
    return str(method.get("_target_") or method.get("name"))


def load_runs(outputs: Sequence[Path]) -> tuple[list[StoredRun], list[str]]:
    """Return all readable runs under these folders, and one sentence for each file that can't be used."""
    runs: dict[str, StoredRun] = {}
    problems: list[str] = []
    clashes: set[str] = set()
    shared = SharedParts()
    for folder in outputs:
        if not folder.is_dir():
            raise KronaError(f"The folder {folder} was not found. Runs are in outputs/<run id>/result.json.")
        for found in summaries(folder):
            try:
                if isinstance(found, KronaError):
                    raise found
                run = stored_run(found, f"{folder}/{found.run_id}/result.json", shared)
            except KronaError as error:
                problems.append(str(error))
                continue
            other = runs.setdefault(found.run_id, run)
            if other is not run and other.whole != run.whole:
                clashes.add(found.run_id)
                problems.append(f"{run.place} and {other.place} are one run with different results. Neither is used.")
    return [run for name, run in runs.items() if name not in clashes], problems


def stored_run(result: Result, place: str, shared: SharedParts | None = None) -> StoredRun:
    """Return a run and the section that it belongs to. Raise KronaError if its config makes no sense."""
    shared = shared or SharedParts()
    try:
        shared.learn_defaults(result)
        parts = [result.config.get(name) for name in ("task", "backbone", "data")]
        parts += [result.provenance.get(name) for name in ("backbone", "official_rows")]
        skipped = [split.get("skipped_rows") for split in result.splits.values()]
        facts = [result.provenance.get(name) for name in ("data_kind", "pretrained")]
        key = (result.status == "done", *map(id, parts), *skipped, *facts)
        return StoredRun(result, shared.compute(key, parts, lambda: find_section(result)), place, shared)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise unusable_result(Path(place), error) from error


def filter_runs(runs: Sequence[StoredRun], filters: Sequence[str]) -> list[StoredRun]:
    """Return the runs that match every ``key=value[,value]``. Raise KronaError for a key that no run has."""
    kept = list(runs)
    for text in filters:
        key, equals, wanted = text.partition("=")
        if not equals:
            raise KronaError(f"filter {text!r}: write key=value, as in method=krona or optimizer.lr=1e-3")
        found = {id(run): value for run in runs if (value := _filter_value(run, key)) is not None}
        if runs and not found:
            raise KronaError(f"filter {text!r}: no run has the key {key!r} (method, task, seed, sweep or a config key)")
        values = {_number_or_text(item) for item in wanted.split(",")}
        kept = [run for run in kept if _number_or_text(found.get(id(run), "")) in values]
    return kept


def _filter_value(run: StoredRun, key: str) -> str | None:
    if key in ("method", "task", "seed", "status", "run_id"):
        return str(getattr(run.result, key))
    if key == "sweep":
        return str(run.sweep)
    return run.setting(key) or run.setting(f"method.{key}")


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def count_unfinished(runs: Iterable[StoredRun]) -> str:
    """Format ``1 failed, 2 running``; empty if all have finished."""
    counts = Counter(run.status for run in runs)
    return ", ".join(f"{counts[status]} {status}" for status in UNFINISHED if counts[status])
