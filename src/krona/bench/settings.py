"""A bench's settings: the keys of `conf/bench/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge

from krona.config import check
from krona.config.settings import Method, NonNegative, Positive, Seed
from krona.messages import KronaError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """rounds: of all contestants. minutes: warm-up and rounds; rounds end early where they would take longer. load:
    refuse a disturbed machine, or measure and mark. methods: names of conf/method, null: all."""

    name: str
    rounds: Positive
    warm_up: NonNegative = 1
    minutes: Annotated[float, Ge(0.05)] = 14.0
    threads: Positive | None = None
    load: Literal["refuse", "mark"] = "refuse"
    seed: Seed = 0
    methods: list[str] | None = None
    peft: bool = True
    batch_size: Positive = 8
    length: Positive = 64
    options: Mapping[str, Any] = field(default_factory=dict)  # the bench's own

    def own(self, kind: type[T]) -> T:
        """`options` as the bench's own settings class. Raises `KronaError` for what it does not know or take."""
        options: T = check.build(kind, "bench.options", self.options)
        return options


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A method of conf/method with a name for its rows."""

    name: str
    method: Method
    shape: str | None = None  # of A, where it was typed or is the method's


def counts(key: str, values: Sequence[int]) -> list[int]:
    """The values of a list in ``bench.options``, all of them at least 1."""
    for value in values:
        if value < 1:
            raise KronaError(f"bench.options.{key}={list(values)}: {value} is too small, each must be at least 1")
    return list(values)
