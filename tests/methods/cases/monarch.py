"""Facts about MoRe for tests."""

import numpy as np

from krona.methods.monarch import Monarch
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    """Multiply x by two block-diagonal matrices, each followed by a permutation matrix."""
    R, L = p["R"], p["L"]
    (N, block, r), (_, _, out) = R.shape, L.shape
    first, second = np.zeros((N * block, N * r)), np.zeros((N * r, N * out))
    between, after = np.zeros((N * r, N * r)), np.zeros((N * out, N * out))
    for k in range(N):
        first[k * block : (k + 1) * block, k * r : (k + 1) * r] = R[k]
        second[k * r : (k + 1) * r, k * out : (k + 1) * out] = L[k]
        for a in range(r):
            between[a * N + k, k * r + a] = 1
        for i in range(out):
            after[k * out + i, i * N + k] = 1
    return arguments.get("scaling", 1.0) * (x @ first @ between @ second @ after)


CASE = Case(
    count=158_208, rank=4,
    branch=BranchCase(
        kind=Monarch, update=update, arguments=[{"blocks": 2, "scaling": 3.0}, {"blocks": 4, "block_rank": 2}],
        mistakes=[
            ({"blocks": 3}, ["method.blocks=3", "64 → 768", "divisor is 64"]),
            ({"blocks": 16, "block_rank": 5}, ["method.block_rank=5", "1 to 4"]),
        ],
    ),
)  # fmt: skip
