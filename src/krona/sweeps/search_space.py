"""Read the search space of `krona tune`, and search it in steps.

A search in steps tries the neighbours of the best values, and moves to a neighbour that scores higher on dev. It starts
at the values of the config. A step multiplies or divides the learning rate by a factor. If no neighbour scores higher,
the steps become shorter. After enough trials, the best rate lies between two other tried rates.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krona.config.choices import is_overridden, read_yaml
from krona.messages import KronaError
from krona.runs.run_id import flatten
from krona.runs.studies import import_optuna

if TYPE_CHECKING:
    from optuna.trial import Trial

LR_FACTORS = "optimizer.lr_factors."  # keys with this prefix can be searched even if the config does not contain them
KEYS = {"low", "high", "log", "choices", "factor", "needs", "also"}  # allowed keys of an axis in a search space
RANGE = 1e4  # the limits of a search in steps are the config's value divided and multiplied by this number
Point = Mapping[str, Any]  # the value of each axis by its key
SHARES = (1.0, 0.5, 0.25, 0.125)  # the step lengths: the factor is raised to these powers


@dataclass(frozen=True)
class Steps:
    """The values of an axis: ``choices`` or, if there are none, ``start`` multiplied by powers of ``factor``.

    The search begins at ``start``.
    """

    start: Any
    factor: float = 1.0
    choices: Sequence[Any] = ()

    def neighbours(self, value: Any, share: float) -> Iterator[Any]:
        """Yield the neighbours of a value: all other choices, or its product and quotient with ``factor**share``."""
        if self.choices:
            yield from (option for option in self.choices if option != value)
        else:
            yield from (float(f"{value * self.factor**exponent:.2g}") for exponent in (share, -share))


@dataclass(frozen=True)
class Axis:
    """A config key whose value is searched."""

    key: str
    values: Any  # an Optuna distribution: a range of numbers, or choices
    needs: str = ""  # the axis is used only if the config has this key or, if ``needs`` is empty, the key ``key``
    also: str = ""  # an override that is added to the command line with each value
    steps: Steps | None = None  # the values for a search in steps; None if ``values`` is a range without a factor

    def suggest(self, trial: "Trial") -> list[str]:
        """Let the study choose a value, and return the overrides that set it. A resumed trial keeps its value."""
        if hasattr(self.values, "choices"):
            value = trial.suggest_categorical(self.key, self.values.choices)
        else:
            value = trial.suggest_float(self.key, self.values.low, self.values.high, log=self.values.log)
        sign = "+" if self.key.startswith(LR_FACTORS) else ""  # no YAML file sets these keys
        return [f"{sign}{self.key}={value}", *([self.also] if self.also else [])]


def read_space(path: Path, config: Mapping[str, Any]) -> list[Axis]:
    """Read the axes of a search space from a YAML file. Axes whose key is not in the run's config are omitted.

    Raises:
        KronaError: the file has no axes; an axis is invalid; no axis applies to the config; or one axis has a factor,
            and another has neither a factor nor choices.
    """
    values = read_yaml(path).get("axes")
    if not isinstance(values, dict) or not values:
        raise KronaError(f"The search space {path} has no axes. sweeps/tune/default.yaml is an example.")
    present = dict(flatten(config))
    axes = [_read_axis(f"{path}, axis {key}", str(key), axis, present) for key, axis in values.items()]
    kept = [
        axis
        for axis in axes
        if axis.key.startswith(LR_FACTORS) or any(is_below(key, [axis.needs or axis.key]) for key in present)
    ]
    if not kept:
        names = ", ".join(axis.key for axis in axes)
        raise KronaError(f"The config of this run has none of the keys of {path}: {names}")
    if has_factor(kept) and (ranges := [axis.key for axis in kept if axis.steps is None]):
        raise KronaError(
            f"{path}: {' and '.join(ranges)} must have choices or a factor, because another axis has a factor."
        )
    return kept


def has_factor(axes: Iterable[Axis]) -> bool:
    """Return whether the axes are searched in steps (`krona.sweeps.search_space`) instead of by Optuna's sampler."""
    return any(axis.steps and not axis.steps.choices for axis in axes)


def _read_axis(where: str, key: str, values: Any, config: Mapping[str, Any]) -> Axis:
    distributions, steps = import_optuna().distributions, None
    try:
        if not isinstance(values, dict) or set(values) - KEYS:
            raise ValueError(f"it is {values!r}")
        if "choices" in values:
            distribution = distributions.CategoricalDistribution(values["choices"])
            steps = Steps(distribution.choices[0], choices=distribution.choices)
        elif "factor" in values:
            start = float(config.get(key, 1.0))
            steps = Steps(start, float(values["factor"]))
            distribution = distributions.FloatDistribution(start / RANGE, start * RANGE, log=True)
        else:
            low, high = float(values["low"]), float(values["high"])
            distribution = distributions.FloatDistribution(low, high, log=bool(values.get("log")))
    except (KeyError, TypeError, ValueError) as error:
        raise KronaError(
            f"{where} is wrong: {error}. It must have low and high, a factor, or a list of choices."
        ) from error
    return Axis(key, distribution, needs=str(values.get("needs", "")), also=str(values.get("also", "")), steps=steps)


def free_axes(axes: Sequence[Axis], typed: Sequence[str]) -> list[Axis]:
    """Return the axes whose keys ``key`` and ``needs`` are not set by the user's overrides.

    If the user's overrides set the same key as an axis's override ``also``, remove ``also`` from the axis.
    """
    free = [axis for axis in axes if not is_overridden(axis.key, typed) and not is_overridden(axis.needs, typed)]
    return [replace(axis, also="") if is_overridden(axis.also.split("=")[0], typed) else axis for axis in free]


def is_below(key: str, parents: Iterable[str]) -> bool:
    return any(f"{key}.".startswith(f"{parent}.") for parent in parents)


def next_point(axes: Mapping[str, Steps], trials: Sequence[tuple[Point, float | None]]) -> Point | None:
    """Return the values to try next, or None if all neighbours of the best values were tried.

    Args:
        axes: the values of each searched key.
        trials: the values of each trial, and its score. The score of an unfinished or failed trial is None.
    """
    tried = [dict(point) for point, _ in trials]
    start = {key: axis.start for key, axis in axes.items()}
    if start not in tried:
        return start
    scored = [(score, point) for point, score in trials if score is not None]
    best = max(scored, key=lambda pair: pair[0])[1] if scored else start
    for share in SHARES:
        for key, axis in axes.items():
            for value in axis.neighbours(best[key], share):
                if (point := {**best, key: value}) not in tried:
                    return point
    return None
