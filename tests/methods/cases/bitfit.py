"""Facts about BitFit for tests."""

import numpy as np

from krona.methods.bitfit import Bias
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    return np.broadcast_to(p["bias"], (*x.shape[:-1], len(p["bias"])))


CASE = Case(
    count=280_960, rank=0, merges=False, peft_type=None,
    branch=BranchCase(kind=Bias, update=update),
)  # fmt: skip
