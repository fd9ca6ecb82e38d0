"""Runs for a report: read, checked against their own predictions, and told apart by all that is not a seed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from krona import ownership
from krona.errors import KronaError
from krona.identity import NOT_IDENTITY, canonical
from krona.index import summaries
from krona.report.answers import answers_of, metrics_of, unusable
from krona.report.measures import Answers
from krona.report.sections import Section, section_of
from krona.results import Result, read_result

MISSING = object()
NO_VARIANT = ("seed", "score_test")  # the second is no part of what was trained


@dataclass(eq=False)
class Run:
    """One result and what tables ask of it."""

    result: Result  # a summary: without outcomes, and of the curve the last epoch
    section: Section
    place: str  # its result.json
    words: dict[Any, tuple[Any, str]] = field(default_factory=dict)  # parts that several runs share, as text

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
        return answers_of(self.whole, self.path) if self.result.status == "done" else {}

    @cached_property
    def settings(self) -> dict[str, str]:
        """All that makes this run another variant: dotted key → value, without the seed."""
        plain = canonical({k: v for k, v in self.result.config.items() if k not in NO_VARIANT})
        return {**dict(flatten(plain)), **{key: value for key, value in self.content.items() if value is not None}}

    def setting(self, key: str) -> str | None:
        """One of `settings`; None where the run has no such key."""
        value: Any = self.result.config
        for part in key.split("."):
            value = value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
        if value is MISSING or (isinstance(value, Mapping) and value):
            return self.content.get(key)
        return as_text(canonical(value, key))

    @property
    def content(self) -> dict[str, str | None]:
        """Fingerprints of what was read; None where a run ended before it knew them."""
        test, backbone = self.result.splits.get("test", {}), self.result.provenance.get("backbone_fingerprint")
        return {"test set": test.get("fingerprint"), "backbone content": backbone}

    @cached_property
    def variant(self) -> tuple[str, ...]:
        """`settings` in a form that is quick to make and to compare: each part of the config, and of the content.

        A part has a line a setting. One that several runs share is put in words once.
        """
        return (*self.asked, *(f"{key}={value}" for key, value in self.content.items() if value is not None))

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """`variant` without the content of files."""
        config = self.result.config
        keys = [key for key in sorted(config) if key not in NO_VARIANT and key not in NOT_IDENTITY]
        return tuple(self._in_words(key, config[key]) for key in keys)

    def _in_words(self, key: str, value: Any) -> str:
        shared = isinstance(value, Mapping | list)
        known = id(value) if shared else (key, value.__class__, value)
        found = self.words.get(known)
        if found is None:
            lines = sorted(f"{name}={text}" for name, text in flatten(canonical(value, key), key))
            found = self.words[known] = (value, "\n".join(lines))  # the value too: its id must not become another's
        return found[1]

    @property
    def sweep(self) -> str | None:
        return self.result.config.get("sweep")

    @cached_property
    def status(self) -> str:
        """The result's own, but a run whose process has died is not running: it is interrupted."""
        if self.result.status != "running":
            return self.result.status
        try:
            return "running" if ownership.owner(self.path.parent) else "interrupted"
        except OSError:  # a folder that may only be read
            return "running"

    def score(self, split: str) -> float | None:
        part = getattr(self.result, split)
        return float(part["score"]) if self.result.status == "done" and part else None

    @property
    def metrics(self) -> list[str]:
        return metrics_of(self.result.config["task"])


def flatten(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """Dotted keys and values as text; shapes as 32x24."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flatten(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, as_text(value)


def as_text(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(item, list) and len(item) == 2 for item in value):
        return "x".join(map(str, value[0]))  # B follows from A and the layer
    if isinstance(value, list):
        return ",".join(as_text(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def load(outputs: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """All readable runs under these folders, and one sentence for each file that can't be used."""
    runs: dict[str, Run] = {}
    problems: list[str] = []
    clashes: set[str] = set()
    words: dict[Any, tuple[Any, str]] = {}
    for folder in outputs:
        if not folder.is_dir():
            raise KronaError(f"{folder} is no folder: runs lie in outputs/<run id>/result.json")
        for found in summaries(folder):
            if isinstance(found, KronaError):
                problems.append(str(found))
                continue
            place = f"{folder}/{found.run_id}/result.json"
            try:
                run = of_result(found, place, words)
            except KronaError as error:
                problems.append(str(error))
                continue
            other = runs.setdefault(found.run_id, run)
            if other is not run and other.whole != run.whole:
                clashes.add(found.run_id)
                problems.append(f"{place} and {other.place} are one run with different results: neither is used")
    return [run for name, run in runs.items() if name not in clashes], problems


def of_result(result: Result, place: str, words: dict[Any, tuple[Any, str]] | None = None) -> Run:
    """A run and the table that it belongs to. Raises KronaError where its config makes no sense."""
    try:
        return Run(result, section_of(result), place, {} if words is None else words)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unusable(Path(place), error) from error


def choose(runs: Sequence[Run], filters: Sequence[str]) -> list[Run]:
    """Those runs that match every ``key=value[,value]``; a key that no run has is an error."""
    kept = list(runs)
    for text in filters:
        key, equals, wanted = text.partition("=")
        if not equals:
            raise KronaError(f"filter {text!r}: write key=value, as in method=krona or optimizer.lr=1e-3")
        known = [run for run in runs if _value(run, key) is not None]
        if runs and not known:
            raise KronaError(
                f"filter {text!r}: no run has the key {key!r} (method, task, seed, sweep or a config's key)"
            )
        values = {_number_or_text(item) for item in wanted.split(",")}
        kept = [run for run in kept if _number_or_text(_value(run, key) or "") in values]
    return kept


def _value(run: Run, key: str) -> str | None:
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
