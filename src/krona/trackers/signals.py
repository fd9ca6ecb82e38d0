"""What the weights say at the end of an epoch: gradient norms, size and effective rank of each update. Torch."""

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from krona.adapted import adapted_modules, of_an_adapter, public_name
from krona.building import delta_of
from krona.errors import KronaError


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """Euclidean norm of the gradients of each kind of parameter, as tensors on their device: no host sync here.

    The kinds are the branches' own names (``A``, ``B``, ``bias`` …) and, of the backbone, ``layer_norm`` and ``other``.
    """
    squares: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            squares.setdefault(_kind(name), []).append(parameter.grad.detach().float().pow(2).sum())
    return {kind: torch.stack(parts).sum().sqrt() for kind, parts in squares.items()}


def _kind(name: str) -> str:
    if of_an_adapter(name):
        return name.rsplit(".", 1)[-1]
    return "layer_norm" if "layer_norm" in name else "other"


@torch.no_grad()
def updates(model: nn.Module) -> dict[str, float]:
    """``update_norm/<place>`` and ``update_rank/<place>`` of each place whose branches add a matrix, and their means.

    The norm is Frobenius' of the sum of the branches' ``delta()``. The effective rank is the participation ratio of
    its squared singular values, (Σσ²)² / Σσ⁴: from 1 to the rank, 0 for no update. It needs one product and no SVD.
    Places whose branches are no matrix (a non-linearity, a bias) have neither.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for place, D in _deltas(model):
        short = short_name(place)
        found[place if short in found else short] = (D.norm(), effective_rank(D))
    if not found:
        return {}
    table = torch.stack([torch.stack(pair) for pair in found.values()]).cpu()  # (places, 2): one host sync
    values: dict[str, float] = {}
    for column, key in enumerate(("update_norm", "update_rank")):
        numbers = table[:, column].tolist()
        values |= {f"{key}/{place}": number for place, number in zip(found, numbers, strict=True)}
        values[f"{key}/mean"] = sum(numbers) / len(numbers)
    return values


def _deltas(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, adapted in adapted_modules(model):
        place = public_name(name)
        if adapted.active is None or adapted.active not in adapted.branches:
            continue
        branches: list[nn.Module] = list(adapted.branches[adapted.active].children())
        try:
            yield place, torch.stack([delta_of(place, branch).float() for branch in branches]).sum(0)
        except KronaError:
            continue


def effective_rank(D: Tensor) -> Tensor:
    """(Σσ²)² / Σσ⁴ of a matrix: ‖D‖⁴ / ‖D Dᵀ‖², a scalar."""
    D = D / D.norm().clamp_min(torch.finfo(D.dtype).tiny)
    gram = D @ D.T if D.shape[0] <= D.shape[1] else D.T @ D
    squares = gram.pow(2).sum()
    return torch.where(squares > 0, 1 / squares.clamp_min(torch.finfo(D.dtype).tiny), torch.zeros_like(squares))


def short_name(place: str) -> str:
    """``encoder.block.0.layer.0.SelfAttention.q`` as ``encoder/0/SelfAttention/q``."""
    return re.sub(r"block\.(\d+)\.layer\.\d+\.", r"\1.", place).replace(".", "/")
