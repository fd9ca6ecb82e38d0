"""Spectra of updates: the singular values of what an adapter adds at a place, and the measures made of them."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.surgery.low_rank import low_rank
from krona.surgery.targets import widths_at
from krona.surgery.trainable import rank_of_branches
from krona.surgery.wrapper import Adapted


@dataclass(frozen=True)
class Spectrum:
    """Singular values of an update, (r) in fp64, the largest first; r: the highest rank that its form can have."""

    values: Tensor

    @property
    def norm(self) -> float:
        """‖ΔW‖, Frobenius."""
        return float(torch.linalg.vector_norm(self.values))

    @property
    def effective_rank(self) -> float | None:
        """``exp(H(p))``, H the entropy of ``p = σ / Σσ`` (Roy & Vetterli 2007, Definition 1); None for ΔW = 0."""
        total = float(self.values.sum())
        if not total > 0:
            return None
        p = self.values / total
        return math.exp(-float(torch.special.xlogy(p, p).sum()))

    @property
    def stable_rank(self) -> float | None:
        """``‖ΔW‖² / σ₁²``; None for ΔW = 0."""
        largest = float(self.values.max()) if len(self.values) else 0.0
        return float(((self.values / largest) ** 2).sum()) if largest > 0 else None


@torch.no_grad()
def spectrum_at(adapted: Adapted, name: str = "default") -> Spectrum:
    """The spectrum of an adapter's update at a place.

    Parallel: ΔW is the sum of the branches' matrices. Sequential and before: the branches together are a map M of the
    module's output or input, and the spectrum is that of M - I. Biases and a magnitude are not in it.

    Raises:
        KronaError: a branch that is no matrix, values that are not finite.
    """
    branches: Any = copy.deepcopy(adapted.branches[name]).to("cpu", torch.float64)
    place, (d_in, d_out) = adapted.places[name], widths_at(adapted, name)
    bound = rank_of_branches(adapted, name)
    if not all(torch.isfinite(p).all() for p in branches.parameters()):
        raise KronaError("its tensors have NaN or infinite values")
    for branch in branches:
        _require_matrix(branch)
    if place.placement == "parallel":
        values = _of_sum(list(branches), d_in, d_out)[:bound]
    else:
        one = torch.eye(d_out if place.placement == "sequential" else d_in, dtype=torch.float64)
        maps = [_matrix(branch) + one if place.inner_residual else _matrix(branch) for branch in branches]
        M = maps[0]
        for after in maps[1:]:
            M = after @ M
        values = _of_matrix(M - one)
        if bound is not None and bound < min(d_in, d_out):  # else M may be wider than the module's narrower side
            values = values[:bound]
    return Spectrum(values)


def _require_matrix(branch: nn.Module) -> None:
    kind = type(branch).__name__
    if isinstance(branch, Kronecker) and branch.non_linearity is not None:
        raise KronaError(f"{kind} with a non-linearity between its products is no matrix")
    if not hasattr(branch, "delta"):
        raise KronaError(f"{kind} is no matrix: it is not linear in its input, or adds a constant")


def _matrix(branch: Any) -> Tensor:
    found: Tensor = branch.linear_part() if isinstance(branch, Kronecker) else branch.delta()
    return found


def _of_sum(branches: list[nn.Module], d_in: int, d_out: int) -> Tensor:
    """Of the sum of branches' matrices: from their factors, where that is less work."""
    pair = _one_product(branches[0]) if len(branches) == 1 else None
    if pair is not None:  # the singular values of A ⊗ B are the products of theirs
        first, second = map(torch.linalg.svdvals, pair)
        return _sorted(torch.outer(first, second).flatten())
    V, U = low_rank("here", branches, d_in, d_out)
    if 2 * len(V) > min(d_in, d_out):
        return _of_matrix(U @ V)
    (_, R), (_, S) = torch.linalg.qr(U, mode="r"), torch.linalg.qr(V.T, mode="r")
    return _singular_values(R @ S.T)


def _one_product(branch: Any) -> tuple[Tensor, Tensor] | None:
    if isinstance(branch, LoKr):
        W1, W2 = branch.factors()
        return W1, branch.scaling * W2
    if isinstance(branch, Kronecker) and branch.residual_scale is None and branch.A.dim() == 2:
        return branch.A, branch.scaling * branch.B
    return None


def _of_matrix(M: Tensor) -> Tensor:
    diagonal = M.diagonal()
    if torch.equal(M, torch.diag(diagonal)):  # (IA)³: an FFN's width squared would take minutes
        return _sorted(diagonal.abs())
    return _singular_values(M)


def _singular_values(M: Tensor) -> Tensor:
    found: Tensor = torch.linalg.svdvals(M)
    return found


def _sorted(values: Tensor) -> Tensor:
    found: Tensor = torch.sort(values, descending=True).values
    return found
