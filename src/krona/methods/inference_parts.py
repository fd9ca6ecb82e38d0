"""Weights of a branch for inference (`krona.surgery.inference`, `surgery.mixed`): what its ``parts()`` returns."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class LowRank:
    """``x down up``: down (d_in, r), up (r, d_out) with the scale."""

    down: Tensor
    up: Tensor


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
    inner_bias: Tensor | None = None
    non_linearity: Callable[[Tensor], Tensor] | None = None
    bias: Tensor | None = None
    gate: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Constant:
    """``value`` (d_out), whatever the input."""

    value: Tensor


@dataclass(frozen=True, eq=False)
class Affine:
    """``scale ⊙ h + shift``: each (d), or None for one and zero."""

    scale: Tensor | None
    shift: Tensor | None = None


Parts = LowRank | Bottleneck | KroneckerParts | Constant | Affine
