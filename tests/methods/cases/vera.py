"""Facts about VeRA for tests."""

from collections.abc import Mapping
from typing import Any

from krona.methods.vera import VeRA
from methods.case import Array, BranchCase, Case


def update(x: Array, p: Mapping[str, Array], arguments: Mapping[str, Any]) -> Array:
    return (x @ p["A"].T * p["d"]) @ p["B"].T * p["b"]


CASE = Case(
    count=72 * (256 + 768) + 47_616, rank=256,
    peft_type="VERA", peft_types={"llama": "LORA"},  # whose layers have two shapes
    branch=BranchCase(kind=VeRA, update=update, arguments=[{"rank": 3}]),
)  # fmt: skip
