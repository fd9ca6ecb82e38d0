"""Facts about MiSS for tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from krona.methods.miss import MiSS
from methods.case import Array, BranchCase, Case


def update(x: Array, p: Mapping[str, Array], arguments: Mapping[str, Any]) -> Array:
    """Multiply the sum of x's parts of ``rank`` numbers, of which the last is padded with zeros, by D."""
    total = np.zeros((*x.shape[:-1], arguments["rank"]))
    for i in range(x.shape[-1]):
        total[..., i % arguments["rank"]] += x[..., i]
    return arguments["scaling"] * total @ p["D"]


CASE = Case(
    count=158_208, rank=2, peft_type="MISS", returns_from_peft=True,
    branch=BranchCase(
        kind=MiSS, update=update,
        arguments=[{"rank": 4, "scaling": 3.0}, {"rank": 5, "scaling": 1.0}],  # 5 is not a divisor of a width
        mistakes=[
            ({"rank": 65}, ["method.rank=65", "1 to 64", "64 → 768"]),
            ({"scaling": float("inf")}, ["method.scaling=inf"]),
        ],
    ),
)  # fmt: skip
