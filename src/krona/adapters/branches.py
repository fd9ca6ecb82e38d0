"""Branches for a sum of adapters or from a peft folder, before they are inserted into a model."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Branches:
    """Branches that are not inserted into a model yet.

    Args:
        branch: the class of the branches, or None if there are no branches.
        config: the arguments of the class.
        tensors: the tensors of the branches by public name.
        insertion: the other arguments with which `surgery.insert` must be called for these branches.
    """

    branch: type[nn.Module] | None
    config: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    insertion: dict[str, Any] = field(default_factory=dict)
