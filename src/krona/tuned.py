"""recipe=tuned: what a search on dev found best for a method, from its study or else from the sweep of learning rates.

Fair to all methods of a comparison: one that had fewer trials than another on the same task is refused.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from krona.errors import KronaError
from krona.identity import canonical
from krona.index import summaries
from krona.results import Result, read_result

SWEEP = "learning_rates"
STANDS_FOR = {"factors": ("method.kron_factors", "method.fit_factors")}  # a group's choice: the keys that it sets


@dataclass(frozen=True)
class Tuned:
    """The best values by dotted key, ``optimizer.lr`` among them, and a line that says where they come from."""

    values: Mapping[str, Any]
    said: str


def best(config: Mapping[str, Any], *, outputs: Path) -> Tuned:
    """The best that the search found among runs that differ from ``config`` in nothing but what it varied and the seed.

    Raises:
        KronaError: no such search is done, or another method's had more trials.
    """
    return _of_study(config, outputs) or _of_sweep(config, outputs)


def comparable(config: Mapping[str, Any], *, without: Iterable[str] = ()) -> Any:
    """A config without what the search varies and without what says how it was chosen."""
    kept = {key: value for key, value in config.items() if key not in ("seed", "score_test", "hydra")}
    for name in ("method.fit_factors", "optimizer.lr", *without):
        group, key = name.split(".", 1)
        kept[group] = {inner: value for inner, value in dict(kept[group]).items() if inner != key}
    return canonical(kept)


# ---- a study of `krona tune` -------------------------------------------------------------------------------------


def _of_study(config: Mapping[str, Any], outputs: Path) -> Tuned | None:
    """The best trial of the study named after method, task and backbone; None where there is none of these settings."""
    method, task, backbone = (config[group]["name"] for group in ("method", "task", "backbone"))
    folder, name = outputs / "studies", f"{method}-{task}-{backbone}"
    if not (folder / f"{name}.db").is_file():
        return None
    from krona.tuning.study import best_of_study

    found = best_of_study(name, outputs=outputs)
    searched = [item.partition("=")[0] for item in found.overrides]
    keys = [key for item in searched for key in STANDS_FOR.get(item, (item,))]
    made_with = read_result(outputs / found.run_id / "result.json").config
    if comparable(made_with, without=keys) != comparable(config, without=keys):
        return None
    swept = _swept(config, _trials(outputs))
    _same_number({**swept, **_studied(config, outputs), method: found.trials}, config, studied=True)
    values = {key: _at(made_with, key) for key in dict.fromkeys((*keys, "optimizer.lr"))}
    took = " ".join(found.overrides)
    said = f"recipe=tuned took {took}, the best of {found.trials} trials on dev ({found.score:.2f}), study {name}"
    return Tuned(values, said)


def _at(config: Mapping[str, Any], key: str) -> Any:
    group, inner = key.split(".", 1)
    return config[group][inner]


# ---- sweeps=learning_rates ---------------------------------------------------------------------------------------


def _of_sweep(config: Mapping[str, Any], outputs: Path) -> Tuned:
    """The rate with the best mean dev score over seeds; a tie goes to the smaller."""
    method, task = config["method"]["name"], config["task"]["name"]
    wanted = comparable(config)
    scores: dict[float, list[float]] = defaultdict(list)
    trials = _trials(outputs)
    for trial in trials:
        if comparable(trial.config) == wanted:
            scores[float(trial.config["optimizer"]["lr"])].append(float(trial.dev["choice"]))  # type: ignore[index]
    again = f"python train.py -m sweeps={SWEEP} method={method} task={task} …"
    if not scores:
        raise KronaError(
            f"recipe=tuned: no run of sweeps={SWEEP} is done for {method} on {task} with these settings, and no study "
            f"of them: {again} makes the first, krona tune method={method} task={task} … the second"
        )
    counts = {lr: len(found) for lr, found in scores.items()}
    if len(set(counts.values())) > 1:
        raise KronaError(
            f"recipe=tuned: the rates of {method} on {task} have unequal numbers of seeds ({counts}): run "
            f"sweeps={SWEEP} to its end"
        )
    studied = _studied(config, outputs)
    others = {**_swept(config, trials), **studied, method: sum(counts.values())}
    _same_number(others, config, studied=max(others, key=lambda name: others[name]) in studied)
    lr = min(scores, key=lambda one: (-fmean(scores[one]), one))
    return Tuned({"optimizer.lr": lr}, _said_of_rate(lr, scores))


def _trials(outputs: Path) -> list[Result]:
    found = [one for one in summaries(outputs) if isinstance(one, Result) and one.status == "done" and one.dev]
    return [one for one in found if one.config.get("sweep") == SWEEP]


def _said_of_rate(lr: float, scores: Mapping[float, Sequence[float]]) -> str:
    seeds = len(scores[lr])
    said = f"recipe=tuned took lr {lr:g}, the best of {len(scores)} rates on dev ({fmean(scores[lr]):.2f}"
    said += f", mean over {seeds} seeds)" if seeds > 1 else ")"
    edge = "smallest" if lr == min(scores) else "largest" if lr == max(scores) else None
    return said + (f"; it is the {edge} that was tried" if edge and len(scores) > 1 else "")


# ---- the same number of trials for each method -------------------------------------------------------------------


def _swept(config: Mapping[str, Any], trials: Sequence[Result]) -> dict[str, int]:
    """How many runs of the sweep each method has on this task, these data and this backbone."""
    groups = ("task", "data", "backbone")
    shared = [canonical(config[group], group) for group in groups]
    return Counter(
        trial.method for trial in trials if [canonical(trial.config[group], group) for group in groups] == shared
    )


def _studied(config: Mapping[str, Any], outputs: Path) -> dict[str, int]:
    """How many trials each method's study on this task and this backbone has."""
    ending = f"-{config['task']['name']}-{config['backbone']['name']}"
    paths = sorted((outputs / "studies").glob(f"*{ending}.db"))
    if not paths:
        return {}
    from krona.tuning.reading import Study, read_study

    read = [read_study(path) for path in paths]
    return {one.name.removesuffix(ending): len(one.trials) for one in read if isinstance(one, Study)}


def _same_number(trials: Mapping[str, int], config: Mapping[str, Any], *, studied: bool) -> None:
    """A method that had fewer trials than another would be compared at a disadvantage."""
    method, task = config["method"]["name"], config["task"]["name"]
    most = max(trials.values())
    if trials[method] == most:
        return
    other = next(name for name in trials if trials[name] == most)
    way_out = f"python train.py -m sweeps={SWEEP} method={method} task={task} … makes the missing ones"
    if studied:
        way_out = f"krona tune method={method} task={task} … --trials {most} makes as many"
    numbers = f"{method} had {trials[method]} trials, {other} had {most}"
    raise KronaError(f"recipe=tuned: {numbers}; a fair comparison wants equal numbers: {way_out}")
