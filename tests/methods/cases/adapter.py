"""Facts about Adapter for tests."""

from krona.methods.adapter import Adapter
from methods import oracles
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    sigma = arguments["non_linearity"]
    return oracles.bottleneck(x, p["down"], p["down_bias"], p["up"], p["up_bias"], sigma)


CASE = Case(
    count=158_256, rank=1, start=1.0, merges=False, peft_type=None,
    branch=BranchCase(
        kind=Adapter, update=update,
        arguments=[{"bottleneck_dim": 3, "non_linearity": sigma} for sigma in oracles.SIGMA],
        mistakes=[
            ({"bottleneck_dim": 0}, ["method.bottleneck_dim=0"]),
            ({"non_linearity": "tanh"}, ["method.non_linearity='tanh'", "mish, relu, gelu, gelu_new, silu"]),
        ],
    ),
)  # fmt: skip
