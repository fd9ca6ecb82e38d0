"""Facts about CDKA for tests."""

import math

import numpy as np

from krona.methods.cdka import CDKA
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    delta = np.sum([np.kron(B, A) for B, A in zip(p["B"], p["A"], strict=True)], axis=0)
    return arguments.get("alpha", 1.0) / math.sqrt(len(p["A"]) * arguments.get("r2", 2)) * (x @ delta.T)


CASE = Case(
    count=158_208, rank=4,
    branch=BranchCase(
        kind=CDKA, update=update, arguments=[{"alpha": 3.0}, {"components": 2, "r1": 4, "r2": 2}],
        mistakes=[
            ({"r1": 5}, ["method.r1=5", "output", "64 → 768"]),
            ({"r2": 3}, ["method.r2=3", "input", "64 → 768"]),
        ],
    ),
)  # fmt: skip
