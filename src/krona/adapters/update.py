"""Measure an adapter's update of each module, and compute the update's low-rank factors and singular values.

The update of a module combines all branches of the adapter at this module, without their biases. For parallel branches,
the update is the sum of their matrices. Sequential branches multiply the module's output by a matrix M, and branches
before the module multiply the module's input by M. In these two cases, the update is M - I, and the weight W changes by
(M - I) W or W (M - I).
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from krona.kernels.kronecker import with_identity
from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.surgery.branches import branch_matrix
from krona.surgery.merging import add_update
from krona.surgery.state import adapted_modules, get_state
from krona.surgery.target_modules import widths_at
from krona.surgery.trainable import rank_of_branches
from krona.surgery.wrapper import Adapted, public_name

MEASURES = ("norm", "effective_rank", "stable_rank", "drift")


@dataclass(frozen=True)
class Spectrum:
    """The singular values of an update."""

    values: Tensor  # (r,) in fp64 and in descending order, where r is the maximum rank of the update

    @property
    def norm(self) -> float:
        """The Frobenius norm ‖ΔW‖."""
        return float(torch.linalg.vector_norm(self.values))

    @property
    def effective_rank(self) -> float | None:
        """The effective rank ``exp(H(p))``, where H is the entropy of ``p = σ / Σσ``, or None for ΔW = 0.

        See Roy & Vetterli 2007, Definition 1.
        """
        total = float(self.values.sum())
        if not total > 0:
            return None
        p = self.values / total
        return math.exp(-float(torch.special.xlogy(p, p).sum()))

    @property
    def stable_rank(self) -> float | None:
        """The stable rank ``‖ΔW‖² / σ₁²``, or None for ΔW = 0."""
        largest = float(self.values.max()) if len(self.values) else 0.0
        return float(((self.values / largest) ** 2).sum()) if largest > 0 else None

    @property
    def measures(self) -> dict[str, float | None]:
        return {"norm": self.norm, "effective_rank": self.effective_rank, "stable_rank": self.stable_rank}


@torch.no_grad()
def spectrum(adapted: Adapted, name: str = "default") -> Spectrum:
    """Return the singular values of an adapter's update at one module, without DoRA's magnitude.

    The backbone's weights are not needed.

    Raises:
        KronaError: an adapter is merged, a branch cannot be written as a matrix, or a tensor contains NaN or infinite
            values.
    """
    if adapted.merged:  # the update of HiRA depends on the layer's own weight
        raise KronaError("An adapter is merged into the weights. Call surgery.unmerge(model) first.")
    branches: Any = copy.deepcopy(adapted.branches[name]).to("cpu", torch.float64)
    placement, (d_in, d_out) = adapted.placements[name], widths_at(adapted, name)
    bound = rank_of_branches(adapted, name)
    if not all(torch.isfinite(p).all() for p in branches.parameters()):
        raise KronaError("a tensor of the update contains NaN or infinite values")
    if placement.placement == "parallel":
        values = _singular_values(list(branches), d_in, d_out)
    else:
        identity = torch.eye(d_out if placement.placement == "sequential" else d_in, dtype=torch.float64)
        matrices = [branch_matrix(branch, with_bias=False) for branch in branches]
        values = _svdvals(add_update(identity, matrices, placement) - identity)
    if bound is not None and bound < min(d_in, d_out):  # the other values are zero up to rounding
        values = values[:bound]
    return Spectrum(values)


def low_rank(branches: Sequence[Branch], d_in: int, d_out: int) -> tuple[Tensor, Tensor]:
    """Return V (r, d_in) and U (d_out, r), whose product ``U V`` is the sum of the scaled branches without biases.

    U and V concatenate the factors that ``low_rank()`` of each branch returns. If a branch does not provide factors, or
    if r would be larger than d_in or d_out, U or V is the identity. The factors are exact, because no matrix
    decomposition is computed.
    """
    pairs = [branch.low_rank() for branch in branches]
    if all(pair is not None for pair in pairs):
        left = torch.cat([pair[0] for pair in pairs if pair is not None], dim=1)
        right = torch.cat([pair[1] for pair in pairs if pair is not None], dim=0)
        if left.shape[1] <= min(d_in, d_out):
            return left.T, right.T
    first, *others = [branch_matrix(branch, with_bias=False) for branch in branches]
    U, V = with_identity(sum(others, first))
    return V, U


def _singular_values(branches: Sequence[Branch], d_in: int, d_out: int) -> Tensor:
    """Return the singular values of the branches' sum, computed from the factors if that is faster."""
    if len(branches) == 1 and (values := branches[0].singular_values()) is not None:
        return values
    V, U = low_rank(branches, d_in, d_out)
    if 2 * len(V) > min(d_in, d_out):
        return _svdvals(U @ V)
    (_, R), (_, S) = torch.linalg.qr(U, mode="r"), torch.linalg.qr(V.T, mode="r")
    return _svdvals(R @ S.T)


def _svdvals(M: Tensor) -> Tensor:
    diagonal = M.diagonal()
    if torch.equal(M, torch.diag(diagonal)):  # for (IA)³ at an FFN, an SVD would take minutes
        return torch.sort(diagonal.abs(), descending=True).values
    values: Tensor = torch.linalg.svdvals(M)
    return values


def measure_updates(model: nn.Module, passes: Callable[[], object]) -> dict[str, Any] | None:
    """Measure the active adapter's update of each adapted module. Return None if the adapter has no branches.

    ``passes`` calls the model on the rows for which the drift is measured. The drift of a module is
    Σ‖ΔW h‖² / Σ‖W h‖² over all tokens: the relative change of the module's output or, for branches before the module,
    of its input. The result has these keys:

    - ``by_place``: the ``drift`` of each module, and the ``norm``, ``effective_rank`` and ``stable_rank`` of its
      `Spectrum`. If the update cannot be written as a matrix, all values except ``drift`` are None.
    - ``places``: the number of modules.
    - ``norm``: the Frobenius norm of the updates of all modules together.
    - ``effective_rank``, ``stable_rank``, ``drift``: means over the modules.
    """
    active = str(get_state(model).active)
    modules = {public_name(path): adapted for path, adapted in adapted_modules(model) if active in adapted.branches}
    if not modules:
        return None
    drifts = _drifts(modules, passes)
    by_place = {name: {**_ranks(adapted, active), "drift": drifts.get(name)} for name, adapted in modules.items()}
    norms = [measures["norm"] for measures in by_place.values() if measures["norm"] is not None]
    means = {key: _rounded(mean(measures[key] for measures in by_place.values())) for key in MEASURES[1:]}
    norm = _rounded(math.sqrt(sum(norm**2 for norm in norms))) if norms else None
    return {"places": len(by_place), "norm": norm, **means, "by_place": by_place}


@torch.no_grad()
def _drifts(modules: Mapping[str, Adapted], passes: Callable[[], object]) -> dict[str, float | None]:
    sums: dict[str, list[Tensor]] = {}

    def watch(name: str, plain: Tensor, moved: Tensor) -> None:
        """Record a module's activation, without and with its branches, in each forward pass."""
        plain = plain.float()
        squares = torch.stack([(moved.float() - plain).square().sum(), plain.square().sum()])
        sums.setdefault(name, []).append(squares)

    for name, adapted in modules.items():
        adapted.watch = partial(watch, name)
    try:
        passes()
    finally:
        for adapted in modules.values():
            adapted.watch = None
    drifts: dict[str, float | None] = {}
    for name, parts in sums.items():
        moved, plain = torch.stack(parts).cpu().double().sum(0).tolist()
        drifts[name] = _rounded(moved / plain) if plain else None
    return drifts


def _ranks(adapted: Adapted, name: str) -> dict[str, float | None]:
    try:
        return {key: _rounded(value) for key, value in spectrum(adapted, name).measures.items()}
    except KronaError:  # the update cannot be measured, for example because a branch is not linear
        return dict.fromkeys(MEASURES[:-1])


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None, or None if all values are None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
