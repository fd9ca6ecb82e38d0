"""Facts about HiRA for tests."""

from collections.abc import Mapping
from typing import Any

from krona.methods.hira import HiRA
from methods.case import Array, BranchCase, Case


def update(x: Array, p: Mapping[str, Array], arguments: Mapping[str, Any]) -> Array:
    return arguments["scaling"] * x @ (p["W"] * (p["A"] @ p["B"]).T).T


CASE = Case(
    count=158_208, rank=768, peft_type="HIRA", returns_from_peft=True,
    branch=BranchCase(kind=HiRA, update=update, arguments=[{"rank": 2, "scaling": 3.0}]),
)  # fmt: skip
