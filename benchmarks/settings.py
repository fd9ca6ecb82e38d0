"""Settings of a benchmark (the keys of `conf/bench/`), and the arguments of its ``measure``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from annotated_types import Ge
from pydantic.dataclasses import dataclass as pydantic_dataclass

from krona.config import check
from krona.config.settings import STRICT, Backbone, Method, NonNegative, Positive, Seed

T = TypeVar("T")
Row = dict[str, Any]
Say = Callable[[str], None]
Compose = Callable[[list[str]], dict[str, Any]]  # overrides of train.py's config → its plain values


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(kind: type[T]) -> type[T]:
    """Make a dataclass whose keys and types are checked."""
    checked: type[T] = pydantic_dataclass(frozen=True, kw_only=True, config=STRICT)(kind)  # type: ignore[assignment]
    return checked


@settings
class Bench:
    """The settings of every benchmark."""

    name: str
    rounds: Positive
    """Number of calls of each contestant."""
    warm_up: NonNegative = 1
    minutes: Annotated[float, Ge(0)] = 14.0
    """Time limit of warm-up and rounds."""
    threads: Positive | None = None
    load: Literal["refuse", "mark"] = "refuse"
    """Refuse a machine on which other processes run, or measure and mark the rows."""
    seed: Seed = 0
    methods: list[str] | None = None
    """Names of conf/method; null: all."""
    peft: bool = True
    batch_size: Positive = 8
    length: Positive = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    """The benchmark's own settings."""

    def own(self, kind: type[T]) -> T:
        """Return ``options`` as the class of the benchmark. Raise `KronaError` for an unknown key or a wrong value."""
        options: T = check.build(kind, "bench.options", self.options)
        return options


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A method that takes part, and the name of its rows."""

    name: str
    method: Method
    shape: str | None = None  # of A


@dataclass(frozen=True, kw_only=True)
class Work:
    """The arguments of the ``measure`` of each benchmark."""

    bench: Bench
    say: Say
    entrants: Sequence[Entrant] = ()
    backbones: Mapping[str, Backbone] = field(default_factory=dict)  # by their names in conf/backbone
    compose: Compose = lambda overrides: {}
    outputs: Path = Path()
    project: Path = Path()

    @property
    def backbone(self) -> Backbone:
        """The only backbone."""
        return next(iter(self.backbones.values()))
