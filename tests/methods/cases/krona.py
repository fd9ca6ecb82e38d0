"""Facts about KronA for tests."""

import numpy as np

from krona.methods.kronecker import Kronecker
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    pairs = zip(p["A"].reshape(-1, *p["A"].shape[-2:]), p["B"].reshape(-1, *p["B"].shape[-2:]), strict=True)
    return arguments["scaling"] * sum(x @ np.kron(A, B) for A, B in pairs)


CASE = Case(
    count=158_208, rank=576, peft_type="LOKR",
    branch=BranchCase(  # tests/methods/test_kronecker.py tests the other arguments
        kind=Kronecker, update=update,
        arguments=[{"kron_factors": [[2, 4]], "scaling": 3.0}, {"kron_factors": [[1, 4]], "terms": 3, "scaling": 3.0}],
    ),
)  # fmt: skip
