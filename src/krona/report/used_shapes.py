"""The shape of A that a run really had, and the rank of its update, from what its result says."""

import re
from typing import Any

from krona.outputs.result import Result

Shape = tuple[int, int]
FITTED = re.compile(
    r"become \((\d+), (\d+)\) on layers (\d+) → (\d+)"
)  # in the notes of results without `branch_config`


def used_shape(result: Result) -> str | None:
    """The shape of A on this backbone's layers, as 16x12."""
    used = _used(result)
    return _as_text(used[0]) if used else None


def asked_shape(result: Result) -> str | None:
    """The shape of A that was asked for, where the layers made another of it: 32x24."""
    asked = _shapes(result.config["method"].get("kron_factors"))
    used = _used(result) if asked else []
    return _as_text(asked[0]) if used and asked[0] != used[0] else None


def update_rank(result: Result) -> int | None:
    """The most that the update's rank can be: of A ⊗ B, min(a1, a2) · min(b1, b2), times its terms; of LoRA, its rank.

    None where the update is no matrix (a non-linearity between two products), or where B's shape is not known.
    """
    method = result.config["method"]
    if method.get("non_linearity") or method.get("magnitude"):
        return None
    if method.get("kron_factors"):
        used = _used(result)
        if len(used) < 2:
            return None
        (a1, a2), (b1, b2) = used
        full = min(a1 * b1, a2 * b2)
        products = int(method.get("terms") or 1) * int(method.get("modules_per_target") or 1)
        return full if method.get("residual") else min(full, products * min(a1, a2) * min(b1, b2))
    rank = method.get("rank")
    return int(rank) if isinstance(rank, int) and result.method == "lora" else None


def _used(result: Result) -> list[Shape]:
    """The shapes of A and B as they were inserted; of A alone, where the layers have several widths; else none."""
    recorded = (result.provenance.get("branch_config") or {}).get("kron_factors")
    if recorded:
        return _shapes(recorded)
    for note in result.notes:
        if found := FITTED.search(note):
            a1, a2, d_in, d_out = map(int, found.groups())
            return [(a1, a2), (d_in // a1, d_out // a2)]
    return _shapes(result.config["method"].get("kron_factors"))


def _shapes(factors: Any) -> list[Shape]:
    return [(int(a), int(b)) for a, b in factors or []]


def _as_text(shape: Shape) -> str:
    return f"{shape[0]}x{shape[1]}"
