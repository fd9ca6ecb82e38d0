"""Initialise the parameters of a branch."""

import math

from torch import Tensor, nn


def kaiming_uniform(parameter: Tensor, fan_in: int) -> None:
    """Initialise a parameter Kaiming-uniform with a = √5: the bound is 1/√fan_in."""
    nn.init.uniform_(parameter, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
