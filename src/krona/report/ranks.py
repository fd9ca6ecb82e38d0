"""The rank of a method's update, from its configuration."""

import re

from krona.results import Result

FITTED = re.compile(r"become \((\d+), (\d+)\) on layers (\d+) → (\d+)")


def used_shape(result: Result) -> str | None:
    """The shape of A on this backbone's layers, as 16x12; a shape of the paper that did not fit has become another."""
    factors = result.config["method"].get("kron_factors")
    if not factors:
        return None
    shapes = _fitted(result) or (result.provenance.get("branch_config") or {}).get("kron_factors") or factors
    return "x".join(str(side) for side in shapes[0])


def update_rank(result: Result) -> int | None:
    """The most that the update's rank can be: of A ⊗ B, min(a1, a2) · min(b1, b2); of LoRA, its rank.

    None where the update is no matrix (a non-linearity between two products), or where B's shape is not known.
    """
    method = result.config["method"]
    if isinstance(result.provenance.get("update_rank"), int):
        return int(result.provenance["update_rank"])
    factors = method.get("kron_factors")
    if method.get("non_linearity"):
        return None
    if factors:
        used = (result.provenance.get("branch_config") or {}).get("kron_factors") or factors
        shapes = _fitted(result) or [tuple(shape) for shape in used]
        if len(shapes) < 2:
            return None
        (a1, a2), (b1, b2) = shapes[0], shapes[1]
        return int(min(a1, a2) * min(b1, b2) * int(method.get("terms") or 1))
    rank = method.get("rank")
    return int(rank) if isinstance(rank, int) and result.method in ("lora", "dora") else None


def _fitted(result: Result) -> list[tuple[int, int]] | None:
    """The shapes on this backbone's layers, where the run says that it fitted them."""
    for note in result.notes:
        if found := FITTED.search(note):
            a1, a2, d_in, d_out = map(int, found.groups())
            return [(a1, a2), (d_in // a1, d_out // a2)]
    return None
