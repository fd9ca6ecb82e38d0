"""The non-linear functions of Table 6, by the paper's names."""

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
    """Return the function of this name. Raises KronaError for an unknown name."""
    check_choice("non_linearity", name, NON_LINEARITIES)
    return NON_LINEARITIES[name]
