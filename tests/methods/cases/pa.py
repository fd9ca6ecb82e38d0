"""Facts about the parallel adapter for tests."""

from krona.methods.parallel_adapter import ParallelAdapter
from methods import oracles
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    return arguments["scaling"] * oracles.bottleneck(x, p["down"], p["down_bias"], p["up"], p["up_bias"], "relu")


CASE = Case(
    count=139_824, rank=2, merges=False, peft_type=None,
    branch=BranchCase(
        kind=ParallelAdapter, update=update, arguments=[{"bottleneck_dim": 2, "scaling": 16.0}],
    ),
)  # fmt: skip
