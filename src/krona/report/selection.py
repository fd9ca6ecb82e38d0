"""Runs for a report: read, checked against their own predictions, and told apart by all that is not a seed."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from krona.errors import KronaError
from krona.identity import canonical
from krona.report.measures import Answers, encode, score
from krona.results import Result, read_results, unpack_outcomes

TOLERANCE = 1e-6  # points between a stored score and the one that its predictions give
KINDS = ("glue", "sample", "own")


@dataclass(frozen=True, order=True)
class Section:
    """What may stand in one table: the same sort of data and the same backbone."""

    kind: str  # glue | sample | own
    backbone: str
    pretrained: bool
    protocol: str
    typed: tuple[str, ...] = field(default=(), compare=False)  # overrides that choose this data and backbone

    @property
    def heading(self) -> str:
        weights = "" if self.pretrained else ", random weights"
        name = {"glue": "GLUE", "sample": "Sample data", "own": "Own data"}[self.kind]
        protocol = f", protocol {self.protocol}" if self.kind == "glue" and self.protocol != "table1" else ""
        return f"{name} on {self.backbone}{weights}{protocol}"

    @property
    def caution(self) -> str | None:
        """What a reader must not take these numbers for."""
        if self.kind == "sample":
            return "Generated sentences, not GLUE: the rows compare with one another, not with the paper."
        if not self.pretrained:
            return "Random weights: what is compared here is code, not methods."
        if self.kind == "glue" and not self.comparable:
            return "Not the paper's backbone or split: its numbers are for T5-base, so no differences are shown."
        return None

    @property
    def comparable(self) -> bool:
        """Whether the paper's numbers belong beside these."""
        return self.kind == "glue" and self.pretrained and (self.backbone, self.protocol) == ("t5_base", "table1")

    @property
    def order(self) -> tuple[Any, ...]:
        return (KINDS.index(self.kind), not self.comparable, not self.pretrained, self.backbone, self.protocol)


@dataclass(eq=False)
class Run:
    """One result and what tables ask of it."""

    result: Result
    section: Section
    path: Path
    packed: dict[str, Answers] = field(default_factory=dict)  # split → answers

    @cached_property
    def settings(self) -> dict[str, str]:
        """All that makes this run another variant: dotted key → value, without the seed."""
        plain = canonical(self.result.config)
        for key in ("seed", "score_test"):  # the second is no part of what was trained
            plain.pop(key, None)
        flat = dict(flatten(plain))
        for key, value in self.content.items():
            if value is not None:
                flat[key] = value
        return flat

    @property
    def content(self) -> dict[str, str | None]:
        """Fingerprints of what was read; None where a run ended before it knew them."""
        test, backbone = self.result.splits.get("test", {}), self.result.provenance.get("backbone_fingerprint")
        return {"test set": test.get("fingerprint"), "backbone content": backbone}

    @cached_property
    def variant(self) -> str:
        return json.dumps(self.settings, sort_keys=True)

    @property
    def sweep(self) -> str | None:
        return self.result.config.get("sweep")

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
    for folder in outputs:
        if not folder.is_dir():
            raise KronaError(f"{folder} is no folder: runs lie in outputs/<run id>/result.json")
        for found in read_results(folder):
            if isinstance(found, KronaError):
                problems.append(str(found))
                continue
            path = folder / found.run_id / "result.json"
            try:
                run = of_result(found, path)
            except KronaError as error:
                problems.append(str(error))
                continue
            other = runs.setdefault(found.run_id, run)
            if other is not run and other.result != found:
                clashes.add(found.run_id)
                problems.append(f"{path} and {other.path} are one run with different results: neither is used")
    return [run for name, run in runs.items() if name not in clashes], problems


def of_result(result: Result, path: Path) -> Run:
    """A run with its predictions as numbers. Raises KronaError where its parts contradict one another."""
    try:
        run = Run(result, section_of(result), path)
        if result.status == "done":
            run.packed = _answers(result)
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise KronaError(f"{path} can't be used: {reason}") from error
    return run


def section_of(result: Result) -> Section:
    config, provenance = result.config, result.provenance
    task, backbone = config["task"], config["backbone"]
    kind = provenance.get("data_kind") or ("own" if task.get("files") else "sample" if task.get("sample") else "glue")
    if kind not in KINDS:
        raise ValueError(f"data_kind {kind!r} is none of {', '.join(KINDS)}")
    pretrained = provenance.get("pretrained", backbone.get("pretrained", True))
    name = Path(str(backbone["path"])).name if _is_folder(backbone) else str(backbone["name"])
    typed = _typed(config["backbone"], config.get("data", {}), kind)
    return Section(kind, name, bool(pretrained), str(config.get("data", {}).get("protocol", "table1")), typed)


def _is_folder(backbone: Mapping[str, Any]) -> bool:
    return bool(backbone["name"] == "local" and backbone.get("path"))


def _typed(backbone: Mapping[str, Any], data: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """What to type for the same backbone and data."""
    if (kind, backbone["name"]) == ("sample", "nano"):
        return ("profile=demo",)
    words = []
    if _is_folder(backbone):
        words += ["backbone=local", f"backbone.path={backbone['path']}"]
    elif "/" in str(backbone["name"]):
        words += ["backbone=hub", f"backbone.name={backbone['name']}"]
    elif backbone["name"] != "t5_base":
        words.append(f"backbone={backbone['name']}")
    if data.get("kind") == "tsv":
        words += ["data=tsv", f"data.path={data.get('path')}"]
    elif kind == "sample":
        words.append("data=sample")
    return (*words, *([f"data.protocol={data['protocol']}"] if data.get("protocol", "table1") != "table1" else []))


def _answers(result: Result) -> dict[str, Answers]:
    """Each split's predictions as numbers; ValueError where they do not give the stored scores."""
    task = result.config["task"]
    names = label_ids(task)
    answers = {}
    for split in ("dev", "test"):
        part = getattr(result, split)
        if not part or not part.get("outcomes"):  # test is not scored where only dev is to choose
            continue
        answers[split] = encode(*unpack_outcomes(part["outcomes"]), names)
        given = score(list(part["parts"]), answers[split])
        for metric, value in part["parts"].items():
            _same(f"{split} {metric}", value, given[metric], "predictions")
        names_of_score = metrics_of(task)
        mean = sum(part["parts"][name] for name in names_of_score) / len(names_of_score)
        _same(f"{split}.score", part["score"], mean, "parts")
    return answers


def label_ids(task: Mapping[str, Any]) -> list[str] | None:
    """A task's targets in the order of their ids; None for a regression."""
    labels = task.get("labels")
    if labels is None:
        return None
    return [str(i) for i in sorted(labels.values() if isinstance(labels, Mapping) else range(len(labels)))]


def metrics_of(task: Mapping[str, Any]) -> list[str]:
    """The metrics whose mean is the score of a table."""
    return list(task.get("score") or task["metrics"])


def _same(what: str, stored: float, given: float, source: str) -> None:
    if not abs(given - stored) <= TOLERANCE:
        raise ValueError(f"{what} says {stored:.4f}, its {source} give {given:.4f}: edited by hand?")


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
    return run.settings.get(key) or run.settings.get(f"method.{key}")


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
