"""Weights of a branch for inference (`krona.surgery.inference`): what its ``parts()`` returns."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """``σ(x down + down_bias) up + up_bias``: down (d_in, r), up (r, d_out), a scale multiplied in."""

    down: Tensor
    down_bias: Tensor
    non_linearity: Callable[[Tensor], Tensor]
    up: Tensor
    up_bias: Tensor


@dataclass(frozen=True, eq=False)
class KroneckerParts:
    """``Σₜ Aₜᵀ σ(X Bₜ + inner_biasₜ) + bias + gate · x``: A (T, a1, a2) with the scale, B (T, b1, b2)."""

    A: Tensor
    B: Tensor
    inner_bias: Tensor | None
    non_linearity: Callable[[Tensor], Tensor] | None
    bias: Tensor | None
    gate: Tensor | None
