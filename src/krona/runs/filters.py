"""Select runs by conditions such as ``method=krona,lora`` (the option --where)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from krona.messages import KronaError, did_you_mean
from krona.runs.run_id import as_text, canonical, find_value

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
