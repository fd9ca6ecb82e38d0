"""Define the options that control where the branches of a method are inserted. This module does not import torch."""

from dataclasses import field
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)
Position = Literal["parallel", "sequential", "before"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Placement:
    """The options of a method's YAML file for the insertion of branches, as arguments of `krona.surgery.insert`.

    The options select the modules that get a branch, and the weights of the backbone that are also trained.
    """

    target_modules: list[str] = field(default_factory=list)
    """The names of the modules that get a branch, such as [q, v], or patterns of names (`krona.surgery.targets`)."""
    placement: Position | list[Position] = "parallel"
    """parallel, sequential or before for all target modules, or a list with one of these for each target module."""
    inner_residual: bool = True
    """Whether the output of a sequential or before branch is added to its input. If false, it replaces the input."""
    modules_per_target: Annotated[int, Ge(1), Le(2**31 - 1)] = 1
    """The number of branches at each target module. All of them have the same arguments."""
    magnitude: bool = False
    """Whether to train the norm of each row of the merged weight, as DoRA does."""
    train_layer_norms: bool = True
    """Whether to train the weights of the normalisation layers too."""
    train_backbone: bool = False
    """Whether to train all weights of the backbone too."""
