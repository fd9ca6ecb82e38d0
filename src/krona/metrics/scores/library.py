"""Metrics of the library `evaluate`. A task's file names them ``evaluate:NAME`` or ``evaluate:NAME:KEY``."""

import math
from functools import cache
from typing import Any

from krona.messages import KronaError, shorten

from .metric import Answers, Metric

PREFIX = "evaluate:"


class LibraryMetric(Metric):
    """A metric that `evaluate.load` loads, such as ``evaluate:recall`` or ``evaluate:FOLDER``.

    Its value is stored as the library returns it, or as 0 if it is not finite. If the library returns several values,
    ``KEY`` selects one.

    The metric gets class indices in the order of the labels, or numbers. An invalid prediction is -1, but with two
    classes it is the label that is not the target.
    """

    selects = False

    def __init__(self, name: str) -> None:
        self.name, _, self.key = name.removeprefix(PREFIX).partition(":")

    @property
    def label(self) -> str:
        """The name in results, without folders."""
        return f"{PREFIX}{self.name.rstrip('/').rsplit('/', 1)[-1]}{f':{self.key}' if self.key else ''}"

    def load(self) -> Any:
        """Return the module of the library.

        Raises:
            KronaError: the module was not found, cannot be downloaded, or needs a package that is not installed.
        """
        try:
            return _load(self.name)
        except Exception as error:  # the Hub, the cache and the module itself raise different exception types
            raise KronaError(
                f"The metric {PREFIX}{self.name} could not be loaded: {shorten(' '.join(str(error).split()), 300)} "
                f"Without a network, name the folder of the metric: {PREFIX}FOLDER."
            ) from error

    def score(self, answers: Answers) -> float:
        try:
            values = self.load().compute(
                predictions=answers.predictions_with_invalid_flipped.tolist(), references=answers.targets.tolist()
            )
        except Exception as error:  # each metric has its own requirements
            raise KronaError(f"{PREFIX}{self.name} failed: {shorten(' '.join(str(error).split()), 300)}") from error
        key = self.key or (self.name if self.name in values or len(values) != 1 else next(iter(values)))
        if key not in values or not isinstance(values[key], int | float):
            raise KronaError(f"{PREFIX}{self.name} returns no number {key!r}. Use {PREFIX}{self.name}:KEY with one of: "
                             f"{', '.join(map(str, values))}.")  # fmt: skip
        return float(values[key]) if math.isfinite(values[key]) else 0.0


@cache
def _load(name: str) -> Any:
    import evaluate  # takes a second

    # On disk, the lock file of a failed computation would block all later computations.
    return evaluate.load(name, keep_in_memory=True)
