"""DoRA's magnitude (Liu et al. 2024): the norm of each row of the weight is trained separately from its direction."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from krona.methods.branch import Branch

# maps a weight to its squared row norms, and to the state of the weight for which the norms were computed
_SQUARES = WeakTensorKeyDictionary()


class Magnitude(nn.Module):
    """A magnitude m for each row of a merged weight: ``W' = m · (W + ΔW) / ‖W + ΔW‖`` (Eq. 5 of the DoRA paper).

    Each row of the weight computes one output of the layer. ‖W + ΔW‖ is the norm of each row. The option ``magnitude:
    true`` adds this module to any branch with ``delta()``. DoRA is LoRA with this option. The magnitude is initialised
    with ``m = ‖W + ΔW‖``, so it does not change the output before training. The number of parameters is d_out. The
    backward pass treats the norm as a constant (section 4.3 of the DoRA paper).

    The norms of W are cached. A write through ``weight.data``, which torch does not record, takes effect at the next
    change between `train` and `eval`.
    """

    def __init__(self, weight: Tensor, branches: Iterable[Branch]) -> None:
        super().__init__()
        self.magnitude = nn.Parameter(merged_norms(weight, branches))

    def forward(self, y: Tensor, weight: Tensor, branches: Iterable[Branch], bias: Tensor | None = None) -> Tensor:
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

    def train(self, mode: bool = True) -> "Magnitude":
        if mode != self.training:
            _SQUARES.clear()  # a write through ``weight.data`` changes neither the address nor the version
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Magnitude":
        _SQUARES.clear()  # a cast can change a weight without changing its address and version
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


@torch.no_grad()
def row_norms(weight: Tensor) -> Tensor:
    """Return the norm of each row, (d_out,). For a row of zeros, return the smallest positive number."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1)
    return norms.clamp(min=torch.finfo(norms.dtype).tiny)


@torch.no_grad()
def merged_norms(weight: Tensor, branches: Iterable[Branch]) -> Tensor:
    """Return the norm of each row of W + ΔW, (d_out,), where ΔW is the sum of the branches.

    For one branch with ``norm_change``, ``‖W + ΔW‖² = ‖W‖² + 2 W·ΔW + ‖ΔW‖²`` is computed without ΔW. The
    rounding error, relative to the norm, grows with (‖W‖² + ‖ΔW‖²) / ‖W + ΔW‖².
    """
    device = "cpu" if weight.is_meta else weight.device.type
    with torch.autocast(device, enabled=False):  # autocast would round the products to bf16
        wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
        first, *others = branches
        change = None if others else first.norm_change(wide)
        if change is None:
            delta = sum((branch.delta() for branch in others), first.delta())
            return row_norms(weight + delta.to(weight.dtype))
        squares = _row_squares(weight, wide) + change
    norms: Tensor = squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt().to(weight.dtype)
    return norms


def low_rank_norm_change(W: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return ‖W + ΔW‖² - ‖W‖² for each row of W (d_out, d_in).

    Args:
        left, right: factors (d_in, r) and (r, d_out) of ΔWᵀ.
    """
    left, rows = left.to(W.dtype), right.T.to(W.dtype)
    return (torch.addmm(W @ left, rows, left.T @ left, beta=2) * rows).sum(1)


def kronecker_norm_change(W: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """Return ‖W + ΔW‖² - ‖W‖² for each row of W (d_out, d_in) with ΔW = (A ⊗ B)ᵀ.

    Row (i, j) of ΔW is the Kronecker product of column i of A (a1, a2) and column j of B (b1, b2).
    """
    A, rows = A.to(W.dtype), B.T.to(W.dtype)
    (a1, a2), (b2, b1) = A.shape, rows.shape
    products = A.T[:, None, None] @ W.reshape(a2, b2, a1, b1)  # (a2, b2, 1, b1)
    squares = A.square().sum(0)[:, None, None]
    return (torch.add(squares * rows, products.squeeze(2), alpha=2) * rows).sum(-1).flatten()


def _row_squares(weight: Tensor, wide: Tensor) -> Tensor:
    """Return ‖W‖² of each row, from a cache if the weight has not changed."""
    if torch.compiler.is_compiling():  # torch.compile cannot trace the cache
        return wide.square().sum(1)
    owner = weight if weight._base is None else weight._base  # a transposed weight is a new view in each call
    state = (weight._version, weight.data_ptr(), weight.dtype, weight.stride())
    if owner not in _SQUARES or _SQUARES[owner][0] != state:
        _SQUARES[owner] = state, wide.square().sum(1)
    squares: Tensor = _SQUARES[owner][1]
    return squares
