"""Choose runs by name, as the best of a sweep (`--best SWEEP`), or by conditions such as ``method=krona,lora``."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from krona import paths
from krona.messages import KronaError, did_you_mean, first_few, plural
from krona.runs.frame import stored_results
from krona.runs.result import Result
from krona.runs.run_id import as_text, canonical, find_value
from krona.runs.sweep import load_run_ids

MAX_LISTED = 10  # maximum number of runs in a message


def choose_runs(runs: Sequence[str] | None, best: str | None) -> list[str]:
    """Return the runs of a command: the given names, or the run of the sweep ``best`` with the highest dev score.

    Raises:
        KronaError: neither or both are given, or the sweep has no finished run or runs of several tasks.
    """
    if runs and best is not None:
        raise KronaError(f"{' '.join(runs)} and --best {best} are two choices. Give only one of them.")
    if runs:
        return [*runs]
    done = [
        run for run in stored_results(paths.OUTPUTS) if isinstance(run, Result) and run.status == "done" and run.dev
    ]
    if best is None:
        newest = sorted(done, key=lambda run: str(run.provenance.get("finished")), reverse=True)
        listed = first_few([run.run_id for run in newest], MAX_LISTED)
        known = f"The finished runs are: {', '.join(listed)}." if listed else f"{paths.OUTPUTS} has no finished run."
        raise KronaError(f"No run was given. Give the beginning of a run's id, or --best SWEEP. {known}")
    names = load_run_ids(paths.OUTPUTS, best)
    of_sweep = [run for run in done if run.config.get("sweep") == best or run.run_id in names]
    if not of_sweep:
        sweeps = sorted({str(run.config["sweep"]) for run in done if run.config.get("sweep")})
        known = f": {did_you_mean(best, sweeps)}." if sweeps else ". No sweep has a finished run."
        raise KronaError(f"No finished run belongs to a sweep {best}{known}")
    if len(tasks := sorted({run.task for run in of_sweep})) > 1:
        raise KronaError(f"The sweep {best} has runs of several tasks ({', '.join(tasks)}). Give the name of a run.")
    of_sweep.sort(key=lambda run: str(run.provenance.get("finished")))  # a later run does not replace one of a tie
    scores = {run.run_id: run.dev["score"] for run in of_sweep if run.dev}
    unfinished = len(names.difference(scores))
    more = f" ({plural(unfinished, 'run')} not finished)" if unfinished else ""
    top = max(scores.values())
    first, *tied = [run for run, score in scores.items() if score == top]
    others = f", tied with {', '.join(first_few(tied, MAX_LISTED))}" if tied else ""
    count = plural(len(scores), "run")
    print(f"The best of {count} of {best}{more} on dev is {first} ({top:.2f}){others}.", file=sys.stderr)
    return [first]


T = TypeVar("T")


def filter_runs(
    runs: Sequence[T], conditions: Sequence[str], value: Callable[[T, str], str | None], keys: Sequence[str]
) -> list[T]:
    """Return the runs that meet every condition ``key=value[,value]``. Values that are numbers are compared as numbers.

    For the key ``run``, a run matches if its id contains the value.

    Args:
        value: a function that returns the value of a run's key, or None if the run does not have the key.
        keys: the keys that an error message suggests.

    Raises:
        KronaError: a condition has no =, or no run has the key or the value.
    """
    kept = list(runs)
    for condition in conditions:
        key, equals, wanted = condition.partition("=")
        if not equals:
            raise KronaError(f"--where {condition} is not KEY=VALUE, such as optimizer.lr=1e-3.")
        texts_by_run = {id(run): text for run in runs if (text := value(run, key))}
        if runs and not texts_by_run and key not in keys:
            raise KronaError(f"--where {condition}: no run has the key {key!r}: {did_you_mean(key, keys)}")
        texts, matching = sorted({*texts_by_run.values()}), set[str]()
        for option in wanted.split(",") if runs else ():
            if key == "run":
                fitting = {text for text in texts if option in text}
            else:
                fitting = {text for text in texts if _number_or_text(text) == _number_or_text(option)}
            if not fitting:
                raise KronaError(f"--where {key}={option} matches no run: {did_you_mean(option, texts)}")
            matching |= fitting
        kept = [run for run in kept if texts_by_run.get(id(run)) in matching]
    return kept


def filter_value(run_id: str, state: str, config: Mapping[str, Any], key: str) -> str | None:
    """Return the value of a run's key for `filter_runs`, or None if the run does not have the key.

    ``key`` is ``run``, ``state`` or a key of the config. The prefix ``method.`` may be omitted. The value of a config
    section, such as ``task``, is the section's ``name``.
    """
    if key in ("run", "run_id"):
        return run_id
    if key in ("state", "status"):
        return state
    for path in (key, f"method.{key}"):
        value = find_value(config, path)
        value = value.get("name") if isinstance(value, Mapping) else value
        if value is not None:
            return as_text(canonical(value))
    return None


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
