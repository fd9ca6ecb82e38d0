"""Facts about Compacter for tests."""

from krona.methods.compacter import Compacter
from methods import oracles
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    down = oracles.phm_weight(p["rule"], p["down_left"], p["down_right"])
    up = oracles.phm_weight(p["rule"], p["up_left"], p["up_right"])
    return oracles.bottleneck(x, down, p["down_bias"], up, p["up_bias"], "gelu_new")


CASE = Case(
    count=161_728, rank=16, start=1e-5, merges=False, peft_type=None, peft_arguments={"bottleneck_dim": 8},
    branch=BranchCase(
        kind=Compacter, update=update,
        arguments=[
            {"hypercomplex_division": 4, "bottleneck_dim": 8, "factor_rank": 2},  # with full weights
            {"hypercomplex_division": 4, "bottleneck_dim": 8},  # with the factors
            {"hypercomplex_division": 2, "bottleneck_dim": 8, "factor_rank": 3},
        ],
        mistakes=[
            ({"hypercomplex_division": 5}, ["hypercomplex_division=5", "divisor is 64"]),
            ({"bottleneck_dim": 6}, ["bottleneck_dim=6", "hypercomplex_division=4"]),
        ],
    ),
)  # fmt: skip
