"""Facts about C3A for tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from krona.methods.c3a import C3A
from methods.case import Array, BranchCase, Case


def update(x: Array, p: Mapping[str, Array], arguments: Mapping[str, Any]) -> Array:
    """Multiply x by the matrix whose block (m, n) has w[m, n, (j - k) mod b] at row k and column j."""
    M, N, b = p["kernels"].shape
    C = np.zeros((M * b, N * b))
    for row in range(M * b):
        for column in range(N * b):
            C[row, column] = p["kernels"][row // b, column // b, (column % b - row % b) % b]
    return arguments.get("scaling", 1.0) / x.shape[-1] * (x @ C.T)


CASE = Case(
    count=158_208, rank=768, peft_type="C3A", returns_from_peft=True,
    branch=BranchCase(
        kind=C3A, update=update, arguments=[{"scaling": 3.0}, {"block_size": 4}, {"block_size": 1}],
        mistakes=[
            ({"block_size": 48}, ["method.block_size=48", "64 → 768", "divisor is 64"]),
            ({"block_size": 0}, ["method.block_size=0"]),
        ],
    ),
)  # fmt: skip
