"""Facts about LoKr for tests."""

import numpy as np

from krona.methods.lokr import LoKr
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    W1 = p["w1"] if "w1" in p else p["w1_a"] @ p["w1_b"]
    W2 = p["w2"] if "w2" in p else p["w2_a"] @ p["w2_b"]
    return arguments["alpha"] / arguments["rank"] * (x @ np.kron(W1, W2).T)


CASE = Case(
    count=72 * (24 * 24 + 32 * 32) + 47_616, rank=768, peft_type="LOKR",
    branch=BranchCase(
        kind=LoKr, update=update,
        arguments=[
            {"rank": 8, "alpha": 4.0},
            {"rank": 1, "alpha": 4.0},
            {"rank": 1, "alpha": 4.0, "decompose_both": True, "decompose_factor": 4},
        ],
        mistakes=[({"decompose_factor": 0}, ["method.decompose_factor=0", "-1"])],
    ),
)  # fmt: skip
