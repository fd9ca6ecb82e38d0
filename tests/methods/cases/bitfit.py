"""Facts about BitFit for tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from krona.methods.bitfit import Bias
from methods.case import Array, BranchCase, Case


def update(x: Array, p: Mapping[str, Array], arguments: Mapping[str, Any]) -> Array:
    return np.broadcast_to(p["bias"], (*x.shape[:-1], len(p["bias"])))


CASE = Case(
    count=280_960, rank=0, merges=False, peft_type=None,
    branch=BranchCase(kind=Bias, update=update),
)  # fmt: skip
