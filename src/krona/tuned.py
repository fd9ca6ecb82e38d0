"""recipe=tuned: each method's best learning rate, by the dev scores of a sweep with the same trials for all."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from krona.errors import KronaError
from krona.identity import canonical
from krona.results import Result, read_results

SWEEP = "learning_rates"


def best_lr(config: Mapping[str, Any], *, outputs: Path) -> float:
    """The rate with the best mean dev score over seeds among the runs that differ from ``config`` in nothing else.

    A tie goes to the smaller rate. Raises KronaError where no such run is done, or where the rates have unequal
    numbers of seeds: then the trials were not the same.
    """
    wanted = comparable(config)
    scores: dict[float, list[float]] = defaultdict(list)
    for result in read_results(outputs):
        if isinstance(result, Result) and _is_trial(result) and comparable(result.config) == wanted:
            scores[float(result.config["optimizer"]["lr"])].append(float(result.dev["choice"]))  # type: ignore[index]
    method, task = config["method"]["name"], config["task"]["name"]
    if not scores:
        raise KronaError(
            f"recipe=tuned: no run of sweeps={SWEEP} is done for {method} on {task} with these settings; "
            f"python train.py -m sweeps={SWEEP} method={method} task={task} … makes them"
        )
    counts = {lr: len(found) for lr, found in scores.items()}
    if len(set(counts.values())) > 1:
        raise KronaError(
            f"recipe=tuned: the rates of {method} on {task} have unequal numbers of seeds ({counts}): run "
            f"sweeps={SWEEP} to its end"
        )
    return min(scores, key=lambda lr: (-fmean(scores[lr]), lr))


def comparable(config: Mapping[str, Any]) -> Any:
    """A config without what the sweep varies and without what says how it was chosen."""
    kept = {key: value for key, value in config.items() if key not in ("seed", "score_test", "hydra")}
    kept["method"] = {key: value for key, value in dict(kept["method"]).items() if key != "fit_factors"}
    kept["optimizer"] = {key: value for key, value in dict(kept["optimizer"]).items() if key != "lr"}
    return canonical(kept)


def _is_trial(result: Result) -> bool:
    return result.status == "done" and result.dev is not None and result.config.get("sweep") == SWEEP
