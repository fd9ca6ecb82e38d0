"""recipe=tuned: the best values of a search on dev, from a study of `krona tune` or from the sweep of learning rates.

The comparison of methods stays fair: a method with fewer trials than another on the same task is refused.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from statistics import fmean
from typing import Any

from krona.messages import KronaError, amount, did_you_mean
from krona.runs.folder import RunFolder
from krona.runs.index import summaries
from krona.runs.result import Result
from krona.runs.run_id import canonical
from krona.runs.studies import no_best, read_study
from krona.runs.study import default_name, study_files

SWEEP = "learning_rates"
GROUP_KEYS = {"factors": ("method.kron_factors", "method.fit_factors")}  # the keys that a group's choice sets


@dataclass(frozen=True)
class Tuned:
    """The best values by dotted key, ``optimizer.lr`` among them, and a note on their origin."""

    values: Mapping[str, Any]
    note: str


@dataclass(frozen=True)
class _Study:
    """A study's best trial: what it set, its dev score, and the config of its run."""

    name: str
    overrides: tuple[str, ...]  # key=value
    score: float
    trials: int
    config: Mapping[str, Any]

    @property
    def method(self) -> str:
        return str(self.config["method"]["name"])

    @property
    def varied(self) -> tuple[str, ...]:
        """The keys of a config that the search set."""
        keys = [item.partition("=")[0] for item in self.overrides]
        return tuple(inner for key in keys for inner in GROUP_KEYS.get(key, (key,)))


def best(config: Mapping[str, Any], *, outputs: Path, studies: Sequence[str] = ()) -> Tuned:
    """Return the best values among runs that differ from ``config`` only in what the search varied and in the seed.

    ``studies`` limits the studies, of this method and of the methods it is compared with; empty: all of them.

    Raises:
        KronaError: there is no such search, several studies fit, or another method's search had more trials.
    """
    method = config["method"]["name"]
    found = _find_studies(config, outputs, studies)
    swept = [] if studies else _swept_runs(config, outputs)
    longest = {one.method: one.trials for one in sorted(found, key=lambda one: one.trials)}
    counts = {**Counter(run.method for run in swept), **longest}
    own = _own_study(config, found)
    if own is not None:
        _require_equal_trials({**counts, method: own.trials}, config, study=own.name)
        return _values_of(own)
    if studies:
        raise KronaError(f"recipe=tuned/{'/'.join(studies)}: none of these is a study of {_wanted(config)}")
    scores = _scores_by_rate(config, swept)
    counts[method] = sum(len(each) for each in scores.values())
    most = max(counts, key=lambda name: counts[name])
    _require_equal_trials(counts, config, study=default_name(config) if most in longest else None)
    lr = min(scores, key=lambda one: (-fmean(scores[one]), one))  # a tie goes to the smaller rate
    return Tuned({"optimizer.lr": lr}, _rate_note(lr, scores))


def comparable(config: Mapping[str, Any], *, without: Iterable[str] = ()) -> Any:
    """Return a config without the keys of the search, ``without``, and without what says how they were chosen."""
    kept = {key: value for key, value in config.items() if key not in ("seed", "score_test", "hydra", *without)}
    for name in ("method.fit_factors", "optimizer.lr", *without):
        group, _, key = name.partition(".")
        if key:
            kept[group] = {inner: value for inner, value in dict(kept[group]).items() if inner != key}
    return canonical(kept)


def _have_same_data(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two configs, of any methods, have the same task, data and backbone."""
    return all(canonical(one[group], group) == canonical(other[group], group) for group in ("task", "data", "backbone"))


def _wanted(config: Mapping[str, Any]) -> str:
    return f"{config['method']['name']} on {config['task']['name']} with these settings"


def _find_studies(config: Mapping[str, Any], outputs: Path, names: Sequence[str]) -> list[_Study]:
    """Return the studies of all methods on the config's task, data and backbone; with ``names``, only these.

    Raises:
        KronaError: a named study was not found, or one of the config's own method has no finished trial yet.
    """
    files = study_files(outputs)
    for name in names:
        if name not in files:
            raise KronaError(f"recipe=tuned/{name}: there is no such study; {did_you_mean(name, sorted(files))}")
    own = " ".join(config[group]["name"] for group in ("method", "task", "backbone"))
    found = []
    for name in names or sorted(files):
        study = read_study(files[name])
        if study.best is None or study.best.value is None:
            if study.base.startswith(f"{own} seed "):
                raise no_best(study)
            continue
        made_with = RunFolder(outputs / study.best.run_id).read().config
        if _have_same_data(made_with, config):
            found.append(_Study(name, study.best.overrides, study.best.value, len(study.trials), made_with))
    return found


def _own_study(config: Mapping[str, Any], found: Sequence[_Study]) -> _Study | None:
    """Return the study of the config's method and settings. Raise `KronaError` where there are several."""
    fitting = [
        one
        for one in found
        if one.method == config["method"]["name"]
        and comparable(one.config, without=one.varied) == comparable(config, without=one.varied)
    ]
    if len(fitting) > 1:
        each = "; ".join(f"{one.name} ({amount(one.trials, 'trial')}, dev {one.score:.2f})" for one in fitting)
        raise KronaError(
            f"recipe=tuned: {len(fitting)} studies are of {_wanted(config)}: {each}. recipe=tuned/{fitting[0].name} "
            "takes the first; in a comparison, name one of each method: recipe=tuned/ONE/ANOTHER"
        )
    return fitting[0] if fitting else None


def _values_of(study: _Study) -> Tuned:
    keys = dict.fromkeys((*study.varied, "optimizer.lr"))
    values = {key: reduce(getitem, key.split("."), study.config) for key in keys}
    if named := next((key for key, value in values.items() if "_target_" in f"{key} {value!r}"), None):
        raise KronaError(f"recipe=tuned: the study {study.name} sets {named}, a class: a study's file may name none")
    best_of = f"the best of {amount(study.trials, 'trial')} on dev ({study.score:.2f}), study {study.name}"
    return Tuned(values, f"recipe=tuned took {' '.join(study.overrides)}, {best_of}")


def _swept_runs(config: Mapping[str, Any], outputs: Path) -> list[Result]:
    """Return the finished runs of the sweep, of all methods, on the config's task, data and backbone."""
    found = [one for one in summaries(outputs) if isinstance(one, Result) and one.status == "done" and one.dev]
    return [one for one in found if one.config.get("sweep") == SWEEP and _have_same_data(one.config, config)]


def _scores_by_rate(config: Mapping[str, Any], swept: Sequence[Result]) -> dict[float, list[float]]:
    """Return the dev scores of each rate, one for each seed. Raise `KronaError` for unequal numbers, or for none."""
    method, task = config["method"]["name"], config["task"]["name"]
    scores: dict[float, list[float]] = defaultdict(list)
    for run in swept:
        if comparable(run.config) == comparable(config):
            scores[float(run.config["optimizer"]["lr"])].append(float(run.dev["choice"]))  # type: ignore[index]
    if not scores:
        raise KronaError(
            f"recipe=tuned: no run of sweeps={SWEEP} is done for {_wanted(config)}, and no study of them: "
            f"python train.py -m sweeps={SWEEP} method={method} task={task} … makes the first, "
            f"krona tune method={method} task={task} … the second"
        )
    counts = {lr: len(each) for lr, each in scores.items()}
    if len(set(counts.values())) > 1:
        raise KronaError(
            f"recipe=tuned: the rates of {method} on {task} have unequal numbers of seeds ({counts}): run "
            f"sweeps={SWEEP} to its end"
        )
    return scores


def _rate_note(lr: float, scores: Mapping[float, Sequence[float]]) -> str:
    seeds = len(scores[lr])
    note = f"recipe=tuned took lr {lr:g}, the best of {amount(len(scores), 'rate')} on dev ({fmean(scores[lr]):.2f}"
    note += f", mean over {seeds} seeds)" if seeds > 1 else ")"
    edge = "smallest" if lr == min(scores) else "largest" if lr == max(scores) else None
    return note + (f"; it is the {edge} that was tried" if edge and len(scores) > 1 else "")


def _require_equal_trials(counts: Mapping[str, int], config: Mapping[str, Any], *, study: str | None) -> None:
    """Raise where another method had more trials: the comparison would be unfair.

    ``study``: the study to continue for the missing trials; None: the sweep.
    """
    method, task = config["method"]["name"], config["task"]["name"]
    most = max(counts.values())
    if counts[method] == most:
        return
    other = next(name for name in counts if counts[name] == most)
    way_out = f"python train.py -m sweeps={SWEEP} method={method} task={task} … makes the missing ones"
    if study is not None:
        named = f" --study {study}" if study != default_name(config) else ""
        way_out = f"krona tune method={method} task={task} …{named} --trials {most} makes as many"
    numbers = f"{method} had {amount(counts[method], 'trial')}, {other} had {most}"
    raise KronaError(f"recipe=tuned: {numbers}; a fair comparison needs equal numbers: {way_out}")
