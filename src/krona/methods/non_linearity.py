"""The non-linear functions of Table 6 of the KronA paper, by their names in the paper."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from krona.methods.arguments import check_choice

NON_LINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "mish": F.mish,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


def get_non_linearity(name: str) -> Callable[[Tensor], Tensor]:
    """Return the function with this name. Raises KronaError if the name is unknown."""
    check_choice("non_linearity", name, NON_LINEARITIES)
    return NON_LINEARITIES[name]
