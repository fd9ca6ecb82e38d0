"""Read the runs of a report, divide them into sections, and find the settings in which runs differ.

Runs of different sections are never compared.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from krona.display_names import BENCHMARKS, KINDS, task_label
from krona.messages import KronaError, first_few, plural, shorten
from krona.metrics.scores import criteria
from krona.runs.description import OfficialSplit, describe_split, differing_split, relative_difference
from krona.runs.folder import RunFolder
from krona.runs.frame import StoredResult, stored_results
from krona.runs.predictions import unusable_result
from krona.runs.result import ADAPTER, RESULT, Result
from krona.runs.run_id import as_text, canonical, find_value, flatten

UNFINISHED = ("failed", "interrupted", "running")  # the states of unfinished runs
SPLITS = ("train", "dev", "test")
SETS = tuple(f"{name} set" for name in SPLITS)  # keys of the split fingerprints in the settings
DATA = (*SETS, "rows left out")
CONTENT = (*DATA, "backbone content", "own code")  # not in the config; an unfinished run may not have them
# The keys of settings that are not shown.
HIDDEN = tuple(f"method.{key}" for key in ("name", "label", "order", "_target_", "source", "fit_factors"))
NO_SETTING = ("seed", "score_test")  # keys of the config that do not distinguish variants
OF_METHOD = ("method.", "optimizer.lr", "own code")  # settings in which compared methods may differ
POOLING = "backbone.pooling"
MAX_DEPARTURES = 6  # maximum number of differences from the paper in a warning
OF_TRAINING = ("trainer.", "optimizer.", "scheduler", "batch_size", "micro_batch_size", "data.train_rows", "train set")
Settings = Mapping[str, str]  # maps the dotted keys of the config, and the keys of `CONTENT`, to texts
Defaults = Mapping[str, Mapping[str, Any]]  # the default arguments of each method's class


@dataclass(frozen=True)
class Section:
    """The properties that runs in the same table have in common."""

    kind: str  # the kind of the data, a key of `krona.display_names.KINDS`
    backbone: str
    pretrained: bool
    protocol: str
    complete: bool  # false if the data have the benchmark's format but other rows

    def heading(self, runs: "Runs") -> str:
        """Return the data and the backbone. Data with other rows are described by the split that differs most."""
        split = max((split for run in runs if (split := run.differing_split)), key=relative_difference, default=None)
        weights = "" if self.pretrained else ", random weights"
        name = f"{describe_split(split, self.kind)}," if split else KINDS[self.kind]
        name = name[:1].upper() + name[1:]
        protocol = f", protocol {self.protocol}" if self.kind in BENCHMARKS and self.protocol != "table1" else ""
        return f"{name} on {shorten(self.backbone)}{weights}{protocol}"

    def warning(self, runs: "Runs") -> str | None:
        """Return a warning against misuse of the numbers, or None if no warning is needed."""
        if self.kind == "sample":
            return "These are generated sentences, not GLUE. Compare the rows with one another, not with the paper."
        if not self.pretrained:
            return "The backbone has random weights. Use these numbers to test the code, not to compare methods."
        reasons = [*dict.fromkeys(reason for run in runs for reason in run.departures)]
        if not reasons:
            return None
        count = sum(not run.comparable for run in runs)
        subject = f"{plural(count, 'run')} of {len(runs)} cannot be compared" if count < len(runs) else "Not compared"
        return f"{subject} with the paper: {'; '.join(first_few(reasons, MAX_DEPARTURES))}."

    def order(self, runs: "Runs") -> tuple[Any, ...]:
        """Return a sort key: GLUE first, and runs that are comparable with the paper before others."""
        comparable = any(run.comparable for run in runs)
        shipped = (not comparable, not self.pretrained, not self.complete, self.backbone, self.protocol)
        return ([*KINDS].index(self.kind), *shipped)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportRun:
    """A run of a report."""

    section: Section
    differing_split: OfficialSplit | None  # the split whose number of rows differs most from the official one
    departures: tuple[str, ...]  # the differences from the paper's setting
    run_id: str
    status: str  # "done" or one of `UNFINISHED`
    method: str
    task: str
    seed: int
    sweep: str | None
    scores: Mapping[str, float]  # the scores on dev and test; empty for an unfinished run
    costs: Mapping[str, float]  # costs and other quantities (`_costs`); NaN: unknown
    settings: Settings  # without the seed
    variant: int  # a number that identifies equal settings
    result: Result
    path: Path  # the run's result.json
    varies_pooling: bool = False  # whether the run is compared with runs that differ in the pooling

    @property
    def done(self) -> bool:
        return self.status == "done"

    @property
    def comparable(self) -> bool:
        """Whether the run is on GLUE without departures from the paper's setting."""
        return self.section.kind == "glue" and self.section.pretrained and not self.departures


Runs = Sequence[ReportRun]
Item = TypeVar("Item")
Key = TypeVar("Key")


def group_by(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return groups of items with equal keys, in the order of their first items."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def load_runs(folders: Sequence[Path]) -> tuple[list[ReportRun], list[str]]:
    """Return all readable runs in the folders, and a message for each file that cannot be used.

    Raises:
        KronaError: one of the folders does not exist.
    """
    results, paths, problems = _read(folders)
    fixed_subsets = {_subset(result) for result in results if _subset_seed(result) not in (None, result.seed)}
    defaults = recorded_defaults(results)
    known: dict[tuple[Any, ...], tuple[Settings, Section, OfficialSplit | None]] = {}
    variants: dict[frozenset[tuple[str, str]], int] = {}
    runs: list[ReportRun] = []
    for result, path in zip(results, paths, strict=True):
        try:
            drawn = _subset_seed(result) == result.seed and _subset(result) not in fixed_subsets
            key = drawn, result.status == "done", *result.shared
            if key not in known:
                known[key] = _settings(result, defaults, drawn=drawn), *_find_section(result)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            problems.append(str(unusable_result(path, error)))
            continue
        settings, section, split = known[key]
        variant = variants.setdefault(frozenset(settings.items()), len(variants))
        done = result.status == "done"
        runs.append(
            ReportRun(
                run_id=result.run_id,
                status="done" if done else RunFolder(path.parent).status(result),
                method=result.method,
                task=result.task,
                seed=result.seed,
                sweep=result.config.get("sweep"),
                scores={name: part["score"] for name in ("dev", "test") if done and (part := getattr(result, name))},
                costs=_costs(result, path),
                settings=settings,
                variant=variant,
                section=section,
                differing_split=split,
                departures=tuple(result.departures or ()),
                result=result,
                path=path,
                varies_pooling=POOLING in result.row["settings"],
            )
        )
    return runs, problems


def _find_section(result: Result) -> tuple[Section, OfficialSplit | None]:
    """Return the section of a run, and the split whose number of rows differs most from the official one."""
    config, provenance = result.config, result.provenance
    backbone, kind = config["backbone"], result.data_kind
    pretrained = bool(provenance.get("pretrained", backbone.get("pretrained", True)))
    local = backbone["name"] == "local" and backbone.get("path")
    name = Path(str(backbone["path"])).name if local else str(backbone["name"])
    split = differing_split(result) if kind in BENCHMARKS else None
    protocol = str(config.get("data", {}).get("protocol", "table1"))
    section = Section(kind, name, pretrained, protocol, split is None)
    return section, split and (f"{task_label(result.task)}'s {split[0]}", *split[1:])


def _costs(result: Result, path: Path) -> dict[str, float]:
    """Return the quantities in `krona.report.costs.QUANTITIES` and the percentage of trained parameters.

    The units are those of result.json. The seconds per step do not depend on early stopping. Runs that did not record
    the load have no peak memory of the host, because it could contain the memory of earlier runs of their process.
    """
    load = result.provenance.get("load")
    known, memory, adapter = result.provenance, result.peak_memory, path.with_name(ADAPTER)
    train, steps = result.times.get("train"), result.dev_curve[-1].get("step") if result.dev_curve else None
    costs = {
        "params": result.trainable_params, "percent": result.trainable_percent, "rank": known.get("update_rank"),
        "time": train, "cpu": result.times.get("train_cpu"), "load": max(load) if load else None,
        "step": train / steps if train and steps and result.status == "done" else None,
        "memory": memory.get("device") or (memory.get("host") if load else None),
        "adapter": adapter.stat().st_size if adapter.is_file() else None, "adds": known.get("multiply_adds"),
        "launches": known.get("launches"),
    }  # fmt: skip
    return {name: math.nan if value is None else float(value) for name, value in costs.items()}


def _read(folders: Sequence[Path]) -> tuple[list[StoredResult], list[Path], list[str]]:
    found: dict[str, tuple[StoredResult, Path]] = {}
    problems: list[str] = []
    clashes: set[str] = set()
    for folder in folders:
        if not folder.is_dir():
            raise KronaError(f"The folder {folder} was not found. Runs are in outputs/<run id>/result.json.")
        for result in stored_results(folder):
            if isinstance(result, KronaError):
                problems.append(str(result))
                continue
            path = folder / result.run_id / RESULT
            first, other = found.setdefault(result.run_id, (result, path))
            if other != path and first != result:
                clashes.add(result.run_id)
                problems.append(f"{path} and {other} are different results of one run. Neither is used.")
    kept = [pair for name, pair in found.items() if name not in clashes]
    return [result for result, _ in kept], [path for _, path in kept], problems


def _subset_seed(result: Result) -> Any:
    return (result.config.get("data") or {}).get("subset_seed")


def _subset(result: Result) -> tuple[Any, ...]:
    return result.method, result.task, (result.config.get("data") or {}).get("train_rows"), _subset_seed(result)


def recorded_defaults(results: Iterable[Result]) -> Defaults:
    """Return the default arguments of each method's class, as recorded in the results.

    These defaults complete older results, which were written before the class had all of its arguments. An argument is
    omitted if the results record different defaults.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for result in results:
        known = found.setdefault(_method_class(result), {})
        for key, value in (result.provenance.get("method_defaults") or {}).items():
            values = known.setdefault(key, [])
            values += [] if value in values else [value]
    return {
        target: {key: values[0] for key, values in known.items() if len(values) == 1} for target, known in found.items()
    }


def _method_class(result: Result) -> str:
    method = result.config["method"]
    return str(method.get("_target_")) if isinstance(method, Mapping) else ""


def _settings(result: Result, defaults: Defaults, *, drawn: bool) -> Settings:
    """Return a run's settings. ``drawn``: whether the run's seed also determines its subset of the training rows."""
    config = {key: value for key, value in result.config.items() if key not in NO_SETTING}
    recorded = result.provenance.get("method_defaults") or {}
    config["method"] = {**defaults[_method_class(result)], **recorded, **config["method"]}
    if drawn:
        config["data"] = {**(config["data"] or {}), "subset_seed": None}
    found: dict[str, str] = {}
    for key, value in config.items():
        found |= _flatten(json.dumps({key: value}))
    splits = result.splits
    content = {f"{name} set": splits.get(name, {}).get("fingerprint") for name in SPLITS}
    if drawn:
        content["train set"] = "drawn by seed"
    counts = {name: splits.get(name, {}).get("skipped_rows") for name in SPLITS}
    skipped = [f"{count} of {name}" for name, count in counts.items() if count]
    content["rows left out"] = (" and ".join(skipped) or "none") if splits else None
    content["backbone content"] = result.provenance.get("backbone_fingerprint")
    content["own code"] = " ".join((result.provenance.get("own_code") or {}).values()) or "none"
    return {**found, **{key: value for key, value in content.items() if value is not None}}


@lru_cache(maxsize=10_000)
def _flatten(config: str) -> Settings:
    """Return the settings in a part of a config, given as JSON. Cached, because most configs have many equal parts."""
    counted = canonical(json.loads(config))
    return {key: as_text(value) for key, value in flatten(counted)} if counted else {}


def read_setting(run: ReportRun, key: str) -> str | None:
    """Return the value of a key in a run's settings or config, or None if the key does not exist."""
    if key in run.settings:
        return str(run.settings[key])
    value = find_value(run.result.config, key)
    return None if value is None or isinstance(value, Mapping) else as_text(canonical(value))


def find_metrics(run: ReportRun) -> list[str]:
    """Return the metrics that can be the score of a run: those of its task that a finished run has recorded."""
    names: str | list[str] = run.result.config["task"].get("metrics") or []
    recorded = [getattr(run.result, split)["parts"] for split in run.scores]
    names = criteria([names] if isinstance(names, str) else names)
    return [name for name in names if all(name in parts for parts in recorded)]


def use_metric(run: ReportRun, metric: str) -> ReportRun:
    """Return a run with one metric as its score. Its epoch remains the one that all metrics of the task selected."""
    result = run.result
    changes: dict[str, Any] = {"config": {**result.config, "task": {**result.config["task"], "score": [metric]}}}
    for split in run.scores:
        part = getattr(result, split)
        changes[split] = {**part, "score": part["parts"][metric]}
    changes["dev_curve"] = [{**epoch, "score": epoch.get("parts", {}).get(metric)} for epoch in result.dev_curve]
    scores = {split: changes[split]["score"] for split in run.scores}
    return replace(run, result=result.model_copy(update=changes), scores=scores)


def has_prefix(run: ReportRun) -> bool:
    """Return whether a run's source texts begin with the task's name. This prefix changes the data fingerprints."""
    given = run.result.config["task"].get("prefix")
    return bool(run.result.config["method"].get("task_prefix") if given is None else given)


def list_settings(firsts: Runs) -> list[dict[str, str]]:
    """Return the settings that distinguish variants, given a run of each: those that their sweep varied, if recorded.

    Without a record of one sweep for all runs, these are the settings in which the runs differ.
    """
    if len(firsts) == 1:
        return [{}]
    rows = [run.result.row["settings"] for run in firsts]
    recorded = [  # a row has the texts of the command line, such as [[16,12]] instead of 16x12
        {key: run.settings.get(key, value) for key, value in row.items()} for run, row in zip(firsts, rows, strict=True)
    ]
    one_sweep = len({run.sweep for run in firsts}) == 1 and firsts[0].sweep
    if one_sweep and len({*map(tuple, recorded)}) == 1 and len({*map(str, recorded)}) == len(firsts):
        return recorded
    keys = _differing_keys(firsts)
    return [{key: run.settings.get(key, "not set") for key in keys} for run in firsts]


def _differing_keys(runs: Iterable[ReportRun]) -> list[str]:
    """Return the keys of the settings in which runs differ. A missing value differs from every other value.

    If the config settings already distinguish all variants, omit the keys of `CONTENT`.
    """
    every = [*{run.variant: run.settings for run in runs}.values()]
    keys = dict.fromkeys(key for settings in every for key in sorted(settings) if key not in HIDDEN)
    found = [key for key in keys if len({settings.get(key) for settings in every}) > 1]
    typed = [key for key in found if key not in CONTENT]
    distinct = {tuple(settings.get(key) for key in typed) for settings in every}
    return found if len(distinct) < len(every) else typed


def differing_training(a: ReportRun, b: ReportRun) -> list[str]:
    """Return the training settings in which two runs differ. Only runs without such differences are compared.

    Differences in the method, its hyper-parameters and the learning rate are ignored, as are unknown values. If one of
    the runs trains nothing, differences in the settings `OF_TRAINING` are ignored too. A difference in the pooling is
    ignored if the user asked to compare it (`ReportRun.varies_pooling`).
    """
    ignored: tuple[str, ...] = OF_METHOD
    if any(run.settings.get("trainer.max_epochs") == "0" for run in (a, b)):
        ignored += OF_TRAINING
    if has_prefix(a) != has_prefix(b):
        ignored += SETS
    if a.varies_pooling and b.varies_pooling:
        ignored += (POOLING,)
    keys = [key for key in dict.fromkeys([*a.settings, *b.settings]) if a.settings.get(key) != b.settings.get(key)]
    known = [key for key in keys if key not in CONTENT or (key in a.settings and key in b.settings)]
    found = [key for key in known if not key.startswith(ignored)]
    return [key for key in found if key not in CONTENT] or found


def count_states(runs: Runs, waiting: int = 0, *, states: Sequence[str] = ("done", *UNFINISHED)) -> str:
    """Return text such as ``2 done, 1 failed, 1 waiting``."""
    counts = Counter([*(run.status for run in runs), *["waiting"] * waiting])
    return ", ".join(f"{counts[state]} {state}" for state in (*states, "waiting") if counts[state])
