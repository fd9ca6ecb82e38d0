"""The options of an insertion that a method's YAML may set. This module needs no torch."""

from dataclasses import field
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)
Position = Literal["parallel", "sequential", "before"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Placement:
    """The places of a method's branches, and what trains beside them: arguments of `krona.surgery.insert`."""

    target_modules: list[str] = field(default_factory=list)
    """Names of modules that get a branch, such as [q, v], or patterns over them (`krona.surgery.targets`)."""
    placement: Position | list[Position] = "parallel"
    """parallel, sequential or before; a list: one for each target."""
    inner_residual: bool = True
    """With false, sequential and before use the branch's output alone, without adding y or x."""
    modules_per_target: Annotated[int, Ge(1), Le(2**31 - 1)] = 1
    """Branches at each target, each with the same arguments."""
    magnitude: bool = False
    """Train the norm of each row of the merged weight, as DoRA does."""
    train_layer_norms: bool = True
    """Train the weights of the normalisation layers too."""
    train_backbone: bool = False
    """Train all weights."""
