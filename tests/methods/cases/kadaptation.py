"""Facts about KAdaptation for tests."""

from krona.methods.kadaptation import KAdaptation
from methods import oracles
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    return arguments.get("scaling", 1.0) * (x @ oracles.phm_weight(p["rule"], p["u"], p["v"]))


CASE = Case(
    count=158_208 + 4**3, rank=16,  # the rule is counted once
    branch=BranchCase(
        kind=KAdaptation, update=update,
        arguments=[{"hypercomplex_division": 2, "scaling": 3.0}, {"hypercomplex_division": 2, "factor_rank": 2}],
        mistakes=[
            ({"hypercomplex_division": 5}, ["hypercomplex_division=5", "divisor is 64"]),
            ({"factor_rank": 17}, ["method.factor_rank=17", "1 to 16"]),
        ],
    ),
)  # fmt: skip
