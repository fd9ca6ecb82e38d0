"""Runs of a report: read, checked against their own predictions, and filtered."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.metrics.answers import Answers
from krona.report.sections import Section, section_of
from krona.runs.folder import RunFolder
from krona.runs.index import summaries
from krona.runs.predictions import check_answers, score_metrics, unusable
from krona.runs.result import Result, read_result
from krona.runs.run_id import NOT_IDENTITY, as_text, canonical, flatten

MISSING = object()
SPLITS = ("train", "dev", "test")
NO_VARIANT = ("seed", "score_test")  # the second is no part of what was trained


class Defaults:
    """Learned from the results of a report. One that differs between them (other code) stands for no run."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._seen: dict[int, Any] = {}  # equal records are one object in many results

    def learn(self, result: Result) -> None:
        """Take the defaults that a result records."""
        record = result.provenance.get("method_defaults")
        if not record or id(record) in self._seen:
            return
        self._seen[id(record)] = record
        method = _branch(result.config["method"])
        known = self._known.setdefault(method, {})
        for key, value in record.items():
            if known.setdefault(key, value) != value:
                self._changed.add((method, key))

    def filled_in(self, method: Mapping[str, Any]) -> dict[str, Any]:
        """A method's settings with the defaults of those that they leave out."""
        branch = _branch(method)
        known = self._known.get(branch, {})
        return {**{key: value for key, value in known.items() if (branch, key) not in self._changed}, **method}


class Memo:
    """Values computed once from parts that several runs share. It keeps the parts, so that their ids stay theirs."""

    def __init__(self) -> None:
        self.known: dict[Any, tuple[Any, Any]] = {}
        self.defaults = Defaults()

    def of(self, key: Any, part: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` gives for ``key``, which holds the ids of ``part``."""
        if key not in self.known:
            self.known[key] = (part, make())
        return self.known[key][1]


@dataclass(eq=False)
class StoredRun:
    """One result and what tables ask of it."""

    result: Result  # a summary: without outcomes, and of the curve the last epoch
    section: Section
    place: str  # its result.json
    memo: Memo = field(default_factory=Memo)

    @property
    def path(self) -> Path:
        return Path(self.place)

    @cached_property
    def whole(self) -> Result:
        """All of the file. Raises KronaError where it is gone or damaged by now."""
        return read_result(self.path)

    @cached_property
    def packed(self) -> dict[str, Answers]:
        """Split → predictions as numbers; empty where the run is not done."""
        return check_answers(self.whole, self.path) if self.result.status == "done" else {}

    @cached_property
    def settings(self) -> dict[str, str]:
        """All that makes this run another variant: dotted key → value, without the seed."""
        plain = canonical({k: self._part(k) for k in self.result.config if k not in NO_VARIANT})
        return {**dict(flatten(plain)), **{key: value for key, value in self.content.items() if value is not None}}

    def setting(self, key: str) -> str | None:
        """One of `settings`; None where the run has no such key."""
        first, *others = key.split(".")
        top = self._part(first)
        text: str | None = self.memo.of((key, id(top)), top, lambda: _text(key, top, others))
        return self.content.get(key) if text is None else text

    @property
    def content(self) -> dict[str, str | None]:
        """What was read: fingerprints, and how many bad rows were left out; None where a run ended before it knew."""
        splits = self.result.splits
        found = {f"{name} set": splits.get(name, {}).get("fingerprint") for name in SPLITS}
        counts = {name: splits.get(name, {}).get("skipped_rows") for name in SPLITS}
        skipped = [f"{count} of {name}" for name, count in counts.items() if count]
        found["rows left out"] = (" and ".join(skipped) or "none") if splits else None
        return {**found, "backbone content": self.result.provenance.get("backbone_fingerprint")}

    @cached_property
    def variant(self) -> tuple[str, ...]:
        """`settings`, quick to make and compare: a text for each part of the config, a line a setting."""
        return (*self.asked, *(f"{key}={value}" for key, value in self.content.items() if value is not None))

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """`variant` without the content of files."""
        config = self.result.config
        ids = [part for key, value in config.items() if key not in NO_VARIANT for part in (key, id(value))]
        keys = [key for key in sorted(config) if key not in NO_VARIANT and key not in NOT_IDENTITY]
        found: tuple[str, ...] = self.memo.of(
            ("asked", *ids),
            config,
            lambda: tuple(lines for key in keys if (lines := self._lines(key, self._part(key)))),
        )
        return found

    def _part(self, key: str) -> Any:
        """A part of the config; the method's with its defaults."""
        part = self.result.config.get(key, MISSING)
        if key != "method":
            return part
        return self.memo.of(("method", "defaults", id(part)), part, lambda: self.memo.defaults.filled_in(part))

    def _lines(self, key: str, value: Any) -> str:
        same = id(value) if isinstance(value, Mapping | list) else value
        found: str = self.memo.of(
            (key, value.__class__, same), value,
            lambda: "\n".join(sorted(f"{name}={text}" for name, text in _settings({key: value}))),
        )  # fmt: skip
        return found

    @property
    def sweep(self) -> str | None:
        return self.result.config.get("sweep")

    @cached_property
    def status(self) -> str:
        """The result's, as of now: a run whose process has died is interrupted."""
        return RunFolder(self.path.parent).status(self.result)

    def score(self, split: str) -> float | None:
        part = getattr(self.result, split)
        return float(part["score"]) if self.result.status == "done" and part else None

    @property
    def metrics(self) -> list[str]:
        return score_metrics(self.result.config["task"])


def _settings(config: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    plain = canonical(config)
    return flatten(plain) if plain else ()  # a part may be no identity, such as the linear schedule


def _text(key: str, value: Any, path: Sequence[str]) -> str | None:
    """What ``value`` has at ``path``, as text; None where it has nothing there, or has other keys below."""
    for part in path:
        value = value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
    if value is MISSING or (isinstance(value, Mapping) and value):
        return None
    return as_text(canonical(value, key))


def load(outputs: Sequence[Path]) -> tuple[list[StoredRun], list[str]]:
    """All readable runs under these folders, and one sentence for each file that can't be used."""
    runs: dict[str, StoredRun] = {}
    problems: list[str] = []
    clashes: set[str] = set()
    memo = Memo()
    for folder in outputs:
        if not folder.is_dir():
            raise KronaError(f"{folder} is no folder: runs lie in outputs/<run id>/result.json")
        for found in summaries(folder):
            try:
                if isinstance(found, KronaError):
                    raise found
                run = of_result(found, f"{folder}/{found.run_id}/result.json", memo)
            except KronaError as error:
                problems.append(str(error))
                continue
            other = runs.setdefault(found.run_id, run)
            if other is not run and other.whole != run.whole:
                clashes.add(found.run_id)
                problems.append(f"{run.place} and {other.place} are one run with different results: neither is used")
    return [run for name, run in runs.items() if name not in clashes], problems


def of_result(result: Result, place: str, memo: Memo | None = None) -> StoredRun:
    """A run and the table that it belongs to. Raises KronaError where its config makes no sense."""
    memo = memo or Memo()
    try:
        memo.defaults.learn(result)
        parts = [result.config.get(name) for name in ("task", "backbone", "data")]
        parts += [result.provenance.get(name) for name in ("backbone", "official_rows")]
        skipped = [split.get("skipped_rows") for split in result.splits.values()]
        facts = [result.provenance.get(name) for name in ("data_kind", "pretrained")]
        key = (result.status == "done", *map(id, parts), *skipped, *facts)
        return StoredRun(result, memo.of(key, parts, lambda: section_of(result)), place, memo)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise unusable(Path(place), error) from error


def choose(runs: Sequence[StoredRun], filters: Sequence[str]) -> list[StoredRun]:
    """Those runs that match every ``key=value[,value]``; a key that no run has is an error."""
    kept = list(runs)
    for text in filters:
        key, equals, wanted = text.partition("=")
        if not equals:
            raise KronaError(f"filter {text!r}: write key=value, as in method=krona or optimizer.lr=1e-3")
        found = {id(run): value for run in runs if (value := _value(run, key)) is not None}
        if runs and not found:
            raise KronaError(f"filter {text!r}: no run has the key {key!r} (method, task, seed, sweep or a config key)")
        values = {_number_or_text(item) for item in wanted.split(",")}
        kept = [run for run in kept if _number_or_text(found.get(id(run), "")) in values]
    return kept


def _value(run: StoredRun, key: str) -> str | None:
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


def _branch(method: Mapping[str, Any]) -> str:
    return str(method.get("_target_") or method.get("name"))
