"""Facts about (IA)³ for tests."""

from collections.abc import Mapping
from typing import Any

from krona.methods.ia3 import IA3
from methods.case import Array, BranchCase, Case


def update(x: Array, p: Mapping[str, Array], arguments: Mapping[str, Any]) -> Array:
    return x * p["scale"]


CASE = Case(
    count=72 * 768 + 24 * 3_072 + 47_616, rank=768, peft_type="IA3", returns_from_peft=True,
    merges_with_bias=False,  # a scale after a layer also scales its bias
    branch=BranchCase(kind=IA3, update=update, sizes=[(16, 16)]),
)  # fmt: skip
