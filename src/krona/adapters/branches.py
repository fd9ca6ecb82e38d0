"""Branches before their insertion, as sums of adapters and peft folders give them."""

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
        insertion: the arguments of `surgery.insert` that the branches need.
    """

    branch: type[nn.Module] | None
    config: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    insertion: dict[str, Any] = field(default_factory=dict)
