"""Linear updates as a product of two matrices: the exact factors of least rank that need no decomposition."""

from typing import Any

import torch
from torch import Tensor, nn

from krona.methods.kronecker import Kronecker, kron_product
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA
from krona.surgery.branches import delta_of


def low_rank(place: str, branches: list[nn.Module], d_in: int, d_out: int) -> tuple[Tensor, Tensor]:
    """V (r, d_in) and U (d_out, r): ``U V`` is the sum of the branches, their scales multiplied in, biases left out.

    ``A ⊗ B = (L_A ⊗ L_B)(R_A ⊗ R_B)``, where of each factor's two one is the factor and the other the identity: its
    rank is ``min(a1, a2) · min(b1, b2)``. Branches and terms are put side by side. Where that is more than the layer
    has, or a branch is of another kind, the whole update stands beside an identity.
    """
    pairs = [_factors(branch) for branch in branches]
    if all(pair is not None for pair in pairs):
        left = torch.cat([pair[0] for pair in pairs if pair is not None], dim=1)
        right = torch.cat([pair[1] for pair in pairs if pair is not None], dim=0)
        if left.shape[1] <= min(d_in, d_out):
            return left.T, right.T
    deltas = [b.linear_part() if isinstance(b, Kronecker) else delta_of(place, b) for b in branches]
    update: Tensor = sum(deltas[1:], deltas[0])
    one = torch.eye(min(d_in, d_out), dtype=update.dtype, device=update.device)
    return (one, update) if d_in <= d_out else (update, one)


def _factors(branch: Any) -> tuple[Tensor, Tensor] | None:
    """(d_in, r) and (r, d_out) of a branch, if its form has such factors."""
    if hasattr(branch, "low_rank"):
        found: tuple[Tensor, Tensor] = branch.low_rank()
        return found
    if isinstance(branch, LoRA):
        return branch.A, branch.scaling * branch.B
    if isinstance(branch, LoKr):
        W1, W2 = branch.factors()
        one = (branch.w1_b.T, branch.w1_a.T) if branch.low_rank_w1 else _with_identity(W1.T)
        two = (branch.w2_b.T, branch.w2_a.T) if branch.low_rank_w2 else _with_identity(W2.T)
        return kron_product(one[0], two[0]), branch.scaling * kron_product(one[1], two[1])
    if isinstance(branch, Kronecker) and branch.residual_scale is None:
        A, B = (p if p.dim() == 3 else p[None] for p in (branch.A, branch.scaling * branch.B))
        pairs = [_of_product(a, b) for a, b in zip(A, B, strict=True)]
        return torch.cat([left for left, _ in pairs], dim=1), torch.cat([right for _, right in pairs], dim=0)
    return None


def _of_product(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """``A ⊗ B`` of (a1, a2) and (b1, b2) as (a1·b1, r) and (r, a2·b2)."""
    (left_a, right_a), (left_b, right_b) = _with_identity(A), _with_identity(B)
    return kron_product(left_a, left_b), kron_product(right_a, right_b)


def _with_identity(M: Tensor) -> tuple[Tensor, Tensor]:
    one = torch.eye(min(M.shape), dtype=M.dtype, device=M.device)
    return (M, one) if M.shape[1] <= M.shape[0] else (one, M)
