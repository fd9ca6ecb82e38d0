"""Facts about MoKA for tests."""

import numpy as np

from krona.methods.moka import MoKA
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    gates = np.exp(p["gates"]) / np.exp(p["gates"]).sum()
    return arguments["scaling"] * sum(w * (x @ np.kron(p[f"A.{i}"], p[f"B.{i}"])) for i, w in enumerate(gates))


CASE = Case(
    count=72 * (7 * 1_536 + 7) + 47_616,
    rank=768,
    branch=BranchCase(kind=MoKA, update=update, arguments=[{"shapes": [[2, 4], [4, 2]], "scaling": 2.0}]),
)
