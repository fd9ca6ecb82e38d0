"""A bench's settings: the keys of `conf/bench/`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from krona.settings import Method, between


@dataclass(frozen=True, kw_only=True)
class Bench:
    """rounds: of all contestants. minutes: rounds end early where they would take longer. load: refuse a disturbed
    machine, or measure and mark. methods: names of conf/method, null: all."""

    name: str
    rounds: int = between(1)
    warm_up: int = between(0, default=1)
    minutes: float = between(0.05, default=14.0)
    threads: int | None = between(1, default=None)
    load: Literal["refuse", "mark"] = "refuse"
    seed: int = between(0, 2**32 - 1, default=0)
    methods: list[str] | None = None
    peft: bool = True
    batch_size: int = between(1, default=8)
    length: int = between(1, default=64)
    options: Mapping[str, Any] = field(default_factory=dict)  # the bench's own


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A method of conf/method with a name for its rows."""

    name: str
    method: Method
    shape: str | None = None  # of A, where it was typed or is the method's
