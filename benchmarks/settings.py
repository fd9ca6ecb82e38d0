"""Settings of a bench, the keys of `conf/bench/`, and what its `measure` is given."""

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
    """A dataclass whose keys and types are checked."""
    checked: type[T] = pydantic_dataclass(frozen=True, kw_only=True, config=STRICT)(kind)  # type: ignore[assignment]
    return checked


@settings
class Bench:
    """rounds: of all contestants. minutes: warm-up and rounds; rounds end early where they would take longer. load:
    refuse a disturbed machine, or measure and mark. methods: names of conf/method, null: all."""

    name: str
    rounds: Positive
    warm_up: NonNegative = 1
    minutes: Annotated[float, Ge(0)] = 14.0
    threads: Positive | None = None
    load: Literal["refuse", "mark"] = "refuse"
    seed: Seed = 0
    methods: list[str] | None = None
    peft: bool = True
    batch_size: Positive = 8
    length: Positive = 64
    options: Mapping[str, Any] = field(default_factory=dict)  # the bench's own

    def own(self, kind: type[T]) -> T:
        """`options` as the bench's own settings class. Raises `KronaError` for an unknown key or a wrong value."""
        options: T = check.build(kind, "bench.options", self.options)
        return options


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A method of conf/method with a name for its rows."""

    name: str
    method: Method
    shape: str | None = None  # of A


@dataclass(frozen=True, kw_only=True)
class Work:
    """What `measure` of each bench is given. backbones: by their names in conf/backbone."""

    bench: Bench
    say: Say
    entrants: Sequence[Entrant] = ()
    backbones: Mapping[str, Backbone] = field(default_factory=dict)
    compose: Compose = lambda overrides: {}
    outputs: Path = Path()
    project: Path = Path()

    @property
    def backbone(self) -> Backbone:
        """The only backbone."""
        return next(iter(self.backbones.values()))
