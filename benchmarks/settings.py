"""The settings of the benchmark (the keys in `conf/bench/`), and the argument of its function ``measure``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from annotated_types import Ge
from pydantic.dataclasses import dataclass as pydantic_dataclass

from krona.config import check
from krona.config.settings import STRICT, Backbone, Method, NonNegative
from krona.tasks.rows import Positive, Seed

T = TypeVar("T")
Row = dict[str, Any]
Say = Callable[[str], None]
Compose = Callable[[list[str]], dict[str, Any]]  # returns train.py's config for overrides


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(kind: type[T]) -> type[T]:
    """Turn a class into a frozen dataclass that checks its keys and the types of their values."""
    checked: type[T] = pydantic_dataclass(frozen=True, kw_only=True, config=STRICT)(kind)  # type: ignore[assignment]
    return checked


@settings
class Bench:
    """The settings of the measurement."""

    name: str
    rounds: Positive
    """The number of timed calls of each contestant."""
    warm_up: NonNegative = 1
    minutes: Annotated[float, Ge(0)] = 14.0
    """The time limit of the warm-up and the rounds together."""
    threads: Positive | None = None
    load: Literal["refuse", "mark"] = "refuse"
    """The behaviour if other processes use the machine.

    ``refuse`` stops with an error, and repeats rounds that were disturbed. ``mark`` keeps all rounds and marks the
    result.
    """
    seed: Seed = 0
    methods: list[str] | None = None
    """The names of the methods to measure, as in conf/method. Null means all methods."""
    peft: bool = True
    batch_size: Positive = 8
    length: Positive = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    """The settings of the models (`benchmarks.training.Options`)."""

    def own(self, kind: type[T]) -> T:
        """Return ``options`` as an object of the class ``kind``.

        Raises:
            KronaError: a key or a value is wrong.
        """
        options: T = check.build(kind, "bench.options", self.options)
        return options


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A method to measure, and the name of its rows."""

    name: str
    method: Method
    shape: str | None = None  # the shape of A


@dataclass(frozen=True, kw_only=True)
class Work:
    """The argument of `benchmarks.training.measure`."""

    bench: Bench
    say: Say
    backbone: Backbone
    entrants: Sequence[Entrant] = ()
