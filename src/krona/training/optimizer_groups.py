"""Divide the trained parameters into the optimizer's groups, each with its own learning rate."""

from typing import Any

from torch import nn

from krona import surgery
from krona.config.settings import Optimizer
from krona.messages import KronaError, did_you_mean

BASE_GROUP = "base"  # the optimizer's group of all weights without a factor in lr_factors


def optimizer_groups(model: nn.Module, optimizer: Optimizer) -> list[Any]:
    """Return the trainable parameters for the optimizer.

    With ``optimizer.lr_factors``, the result is a list of groups, each with its own learning rate. The first group
    contains the parameters without a factor, if there are any.

    Raises:
        KronaError: a key of ``lr_factors`` is not a group of this model's trainable parameters.
    """
    factors = optimizer.lr_factors
    if not factors:
        return [p for p in model.parameters() if p.requires_grad]
    groups = surgery.trainable_groups(model)
    for name in factors:
        if name not in groups:
            raise KronaError(
                f"optimizer.lr_factors.{name}={factors[name]:g} does not name a group of trained weights: "
                f"{did_you_mean(name, groups)}."
            )
    base = [p for name, parameters in groups.items() if name not in factors for p in parameters]
    named = [{"name": name, "params": groups[name], "lr": optimizer.lr * factor} for name, factor in factors.items()]
    return [{"name": BASE_GROUP, "params": base, "lr": optimizer.lr}, *named] if base else named
