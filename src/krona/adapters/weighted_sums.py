"""Weighted sums of linear updates, exact or the nearest of a rank or a number of terms.

LoRAs side by side are a LoRA whose rank is the sum of theirs, KronAs of the same shapes a sum of Kronecker products.
Either is a product of two thin matrices: ``Σ A B`` itself, or, rearranged so that ``A ⊗ B`` is ``vec(A) vec(B)ᵀ``, the
sum of products (Van Loan & Pitsianis 1993). Its singular values give the nearest sum of a given rank or number of
terms, and the Frobenius error, which the rearrangement keeps.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.arguments import whole
from krona.methods.fitted_lora import FittedLoRA, of_rank
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA


@dataclass(frozen=True)
class Part:
    """One adapter's branches at one place."""

    weight: float
    branches: list[Any]


@dataclass
class Sum:
    """Arguments and tensors of the branch that stands for a weighted sum."""

    branch: type[nn.Module] | None
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    squares: dict[str, tuple[float, float]]  # of the error and of the sum, by place
    size: int = 0


def sum_of_loras(places: dict[str, list[Part]], rank: int | None) -> Sum:
    sums = {
        label: _thin([(b.A, part.weight * b.scaling * b.B.double()) for part in parts for b in part.branches])
        for label, parts in places.items()
    }
    kept = {label: nearest(*pair, _size("rank", rank)) for label, pair in sums.items()}
    size = max(left.shape[1] for left, *_ in kept.values())
    tensors: dict[str, Tensor] = {}
    for label, (left, right, *_) in kept.items():
        tensors[f"{label}.0.A"], tensors[f"{label}.0.B"] = of_rank(left, right, size)
    narrow = any(size > min(len(left), right.shape[1]) for left, right, *_ in kept.values())
    config = {"rank": size, "scaling": 1.0}
    return Sum(FittedLoRA if narrow else LoRA, config, tensors, _squares(kept), size)


def sum_of_products(places: dict[str, list[Part]], terms: int | None) -> Sum:
    shapes: dict[tuple[int, ...], str] = {}
    kept, extra = {}, {}
    for label, parts in places.items():
        pairs = []
        for part in parts:
            for branch in part.branches:
                A, B = _factors(branch)
                shapes.setdefault(tuple(A.shape[1:]), label)
                pairs.append((A.flatten(1).T, part.weight * B.double().flatten(1)))
        if len(shapes) > 1:
            (one, first), (other, second) = list(shapes.items())[:2]
            raise KronaError(
                f"products of different shapes have no sum of one: A is {one} at {first}, {other} at {second}"
            )
        kept[label] = (*nearest(*_thin(pairs), _size("terms", terms)), B.shape[1:])
        extra[label] = _bias_and_gate(parts)
    size = max(left.shape[1] for left, *_ in kept.values())
    ((shape, _),) = shapes.items()
    tensors: dict[str, Tensor] = {}
    for label, (left, right, *_, shape_b) in kept.items():
        left, right = F.pad(left, (0, size - left.shape[1])), F.pad(right, (0, 0, 0, size - len(right)))
        A, B = left.T.reshape(size, *shape), right.reshape(size, *shape_b)
        tensors[f"{label}.0.A"], tensors[f"{label}.0.B"] = (A, B) if size > 1 else (A[0], B[0])
    bias, gate = (any(pair[i] is not None for pair in extra.values()) for i in (0, 1))
    for label, (b, g) in extra.items():
        if bias:
            d_out = shape[1] * kept[label][4][1]
            tensors[f"{label}.0.bias"] = torch.zeros(d_out) if b is None else b
        if gate:
            tensors[f"{label}.0.residual_scale"] = torch.zeros(()) if g is None else g
    config = {
        "kron_factors": [list(shape)], "terms": size, "scaling": 1.0, "bias": int(bias),
        "residual": "scale" if gate else None,
    }  # fmt: skip
    return Sum(Kronecker, config, tensors, _squares(kept), size)


def _factors(branch: Any) -> tuple[Tensor, Tensor]:
    """(T, a1, a2) and (T, b1, b2), the scale multiplied in."""
    if isinstance(branch, LoKr):
        W1, W2 = branch.factors()
        return W1.T[None], branch.scaling * W2.T[None]
    A, B = (factor if factor.dim() == 3 else factor[None] for factor in (branch.A, branch.B))
    return branch.scaling * A, B


def _bias_and_gate(parts: list[Part]) -> tuple[Tensor | None, Tensor | None]:
    """The weighted sums of the output biases and of the residuals' factors, None where no branch has one."""
    own = [(part.weight, b) for part in parts for b in part.branches if isinstance(b, Kronecker)]
    biases = [weight * (b.scaling * b.bias).double() for weight, b in own if b.bias is not None]
    gates = [weight * b.gate().double() for weight, b in own if b.residual_scale is not None]
    bias, gate = (torch.stack(found).sum(0) if found else None for found in (biases, gates))
    return bias, gate


def sum_of_vectors(kind: Any, places: dict[str, list[Part]]) -> Sum:
    tensors = {}
    for label, parts in places.items():
        if kind is IA3:
            scales = [part.weight * (branch.scale.double() - 1) for part in parts for branch in part.branches]
            tensors[f"{label}.0.scale"] = 1 + torch.stack(scales).sum(0)
        else:
            biases = [part.weight * branch.bias.double() for part in parts for branch in part.branches]
            tensors[f"{label}.0.bias"] = torch.stack(biases).sum(0)
    return Sum(kind, {}, tensors, {})


def _thin(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """(m, T) and (T, n): pairs side by side."""
    return torch.cat([left.double() for left, _ in pairs], dim=1), torch.cat([right for _, right in pairs], dim=0)


def nearest(left: Tensor, right: Tensor, size: int | None) -> tuple[Tensor, Tensor, float, float]:
    """The nearest product of at most ``size`` inner dimensions to ``left right``, (m, T) and (T, n).

    Returns the two, the square of the Frobenius norm of the difference, and that of the whole. None: unchanged.
    """
    if size is None or size >= left.shape[1]:
        whole_square = float(((left.T @ left) * (right @ right.T)).sum())
        return left, right, 0.0, whole_square
    (Q, R), (P, S) = torch.linalg.qr(left), torch.linalg.qr(right.T)
    U, s, Vh = torch.linalg.svd(R @ S.T, full_matrices=False)  # of the whole product, which has T at most
    root = s[:size].sqrt()
    return Q @ (U[:, :size] * root), (root[:, None] * Vh[:size]) @ P.T, float((s[size:] ** 2).sum()), float(s @ s)


def _size(key: str, size: int | None) -> int | None:
    return None if size is None else whole(key, size, low=1)


def _squares(kept: dict[str, Any]) -> dict[str, tuple[float, float]]:
    return {label: (found[2], found[3]) for label, found in kept.items()}
