"""DoRA's magnitude (Liu et al. 2024): the norm of each row of the weight is trained separately from its direction."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

# The squared row norms of frozen weights, with the state of the weight for which they were computed.
_SQUARES = WeakTensorKeyDictionary()


class Magnitude(nn.Module):
    """A magnitude m for each row of a merged weight: ``W' = m · (W + ΔW) / ‖W + ΔW‖`` (Eq. 5 of the DoRA paper).

    Each row of the weight computes one output of the layer. ‖W + ΔW‖ is the norm of each row. The option ``magnitude:
    true`` adds this module to any branch with ``delta()``. DoRA is LoRA with this option. The magnitude starts as ``m =
    ‖W + ΔW‖``, so it does not change the output at the start. The number of parameters is d_out. The backward pass
    treats the norm as a constant (section 4.3 of the DoRA paper).
    """

    def __init__(self, weight: Tensor, branches: Iterable[Any]) -> None:
        super().__init__()
        self.magnitude = nn.Parameter(merged_norms(weight, branches))

    def forward(self, y: Tensor, weight: Tensor, branches: Iterable[Any], bias: Tensor | None = None) -> Tensor:
        """Return the rescaled output. The bias is not rescaled.

        Args:
            y: the output (..., d_out) with the weight W + ΔW and the bias.
            weight: the weight W (d_out, d_in).
            branches: the branches whose sum is the update ΔW.
            bias: the bias (d_out) of the layer, or None.
        """
        scale = self.magnitude / merged_norms(weight, branches)
        return y * scale if bias is None else (y - bias) * scale + bias

    def scale(self, weight: Tensor) -> Tensor:
        """Return the factor (d_out,) of each row of the merged weight W + ΔW."""
        return self.magnitude / row_norms(weight)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        _SQUARES.clear()  # a cast can change the values of a weight and leave its address and version as they are
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


@torch.no_grad()
def row_norms(weight: Tensor) -> Tensor:
    """Return the norm of each row, (d_out,). For a row of zeros, return the smallest positive number."""
    return _positive(torch.linalg.vector_norm(weight, dim=1))


@torch.no_grad()
def merged_norms(weight: Tensor, branches: Iterable[Any]) -> Tensor:
    """Return the norm of each row of W + ΔW, (d_out,), where ΔW is the sum of the branches.

    For one branch with ``row_products``, ``‖W + ΔW‖² = ‖W‖² + 2 W·ΔW + ‖ΔW‖²`` is computed without ΔW. Its rounding
    error, relative to the norm, grows with (‖W‖² + ‖ΔW‖²) / ‖W + ΔW‖².
    """
    device = "cpu" if weight.is_meta else weight.device.type
    with torch.autocast(device, enabled=False):  # autocast would round the products to bf16
        wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
        first, *others = branches
        products = None if others or not hasattr(first, "row_products") else first.row_products(wide)
        if products is None:
            delta = sum((branch.delta() for branch in others), first.delta())
            return row_norms(weight + delta.to(weight.dtype))
        dots, squares = products
        norms = (_row_squares(weight, wide) + 2 * dots + squares).clamp(min=0).sqrt()
    return _positive(norms.to(weight.dtype))


def low_rank_row_products(W: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return the dot products of the rows of W (d_out, d_in) and ΔW, and the squared row norms of ΔW.

    Args:
        left, right: factors (d_in, r) and (r, d_out) of ΔWᵀ.
    """
    left, right = left.to(W.dtype), right.to(W.dtype)
    dots = ((W @ left) * right.T).sum(1)
    return dots, ((right.T @ (left.T @ left)) * right.T).sum(1)


def kronecker_row_products(W: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the dot products of the rows of W (d_out, d_in) and ΔW = (A ⊗ B)ᵀ, and the squared row norms of ΔW.

    Row (i, j) of ΔW is the Kronecker product of column i of A (a1, a2) and column j of B (b1, b2).
    """
    A, B = A.to(W.dtype), B.to(W.dtype)
    (a1, a2), (b1, b2) = A.shape, B.shape
    columns_a, columns_b = A.T.repeat_interleave(b2, dim=0), B.T.repeat(a2, 1)  # (d_out, a1), (d_out, b1)
    summed = torch.bmm(columns_a[:, None], W.reshape(-1, a1, b1)).squeeze(1)  # (d_out, b1)
    return (summed * columns_b).sum(1), torch.outer(A.square().sum(0), B.square().sum(0)).flatten()


def _row_squares(weight: Tensor, wide: Tensor) -> Tensor:
    """Return ‖W‖² of each row. It is computed again only if the weight has changed."""
    if torch.compiler.is_compiling():  # torch.compile cannot trace the cache
        return wide.square().sum(1)
    owner = weight if weight._base is None else weight._base  # a transposed weight is a new view in each call
    state = (weight._version, weight.data_ptr(), weight.dtype, weight.stride())
    if owner not in _SQUARES or _SQUARES[owner][0] != state:
        _SQUARES[owner] = state, wide.square().sum(1)
    squares: Tensor = _SQUARES[owner][1]
    return squares


def _positive(norms: Tensor) -> Tensor:
    return norms.clamp(min=torch.finfo(norms.dtype).tiny)
