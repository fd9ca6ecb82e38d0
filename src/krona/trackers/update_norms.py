"""Gradient norms; norm and effective rank of each update."""

import re
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.wrapper import Adapted, adapted_modules, of_an_adapter, public_name


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
    """Norm and effective rank of the update at each place, under the keys of docs/tracking.md.

    ``update_norm/<place>`` and ``update_rank/<place>``, and their means, where the branches are linear but for a bias:
    Frobenius' norm and the effective rank of `update_matrix`. ``weight_norm/<place>/<kind>`` where the matrix is not
    the whole update (a bias, a non-linearity): the Euclidean norm of the branches' parameters of that name.
    """
    found: dict[str, Tensor] = {}
    places: set[str] = set()
    for name, adapted in adapted_modules(model):
        if adapted.active is None or adapted.active not in adapted.branches:
            continue
        place = short_name(public_name(name))
        place = public_name(name) if place in places else place
        places.add(place)
        D, complete = update_matrix(adapted, adapted.active)
        if D is not None:
            found |= {f"update_norm/{place}": D.norm(), f"update_rank/{place}": effective_rank(D)}
        if not complete:
            found |= {f"weight_norm/{place}/{kind}": norm for kind, norm in _weight_norms(adapted, adapted.active)}
    if not found:
        return {}
    values = dict(zip(found, torch.stack([*found.values()]).tolist(), strict=True))  # one host sync
    for key in ("update_norm", "update_rank"):
        numbers = [value for name, value in values.items() if name.startswith(f"{key}/")]
        if numbers:
            values[f"{key}/mean"] = sum(numbers) / len(numbers)
    return values


def update_matrix(adapted: Adapted, adapter: str) -> tuple[Tensor | None, bool]:
    """What an adapter adds to the weight at its place, (d_out, d_in): the merged weight less the backbone's.

    A block has no single weight: there it is the map itself, d_in → d_out beside it, d_out → d_out after it, d_in →
    d_in before it. None: a branch is not linear. Second, whether the matrix is the whole update, without biases.
    """
    how = adapted.places[adapter]
    parts = [_linear_part(branch) for branch in adapted.branches[adapter].children()]
    complete = all(whole for _, whole in parts)
    matrices = [D.float() for D, _ in parts if D is not None]
    if len(matrices) < len(parts):
        return None, False
    if how.placement == "parallel":
        E = torch.stack(matrices).sum(0)
    else:  # one by one: 1 + E is the product of the (1 + D), or of the D where there is no inner residual
        E = torch.zeros_like(matrices[0])
        for D in matrices:
            E = D + D @ E + (E if how.inner_residual else -torch.eye(len(D), device=D.device))
    if not isinstance(adapted.base, nn.Linear):
        return E, complete
    W = adapted.base.weight.float()
    if how.placement != "parallel":
        return (E @ W if how.placement == "sequential" else W @ E), complete
    if adapter in adapted.magnitudes:
        magnitude = adapted.magnitudes[adapter].get_parameter("magnitude").float()
        E = magnitude[:, None] * (W + E) / torch.linalg.vector_norm(W + E, dim=1, keepdim=True) - W
    return E, complete


def _linear_part(branch: nn.Module) -> tuple[Tensor | None, bool]:
    """A branch's matrix (d_out, d_in), None where it is not linear; and whether it is all of the branch: no bias."""
    for name, whole in (("delta", True), ("linear_part", False)):
        part: Callable[[], Tensor] | None = getattr(branch, name, None)
        if part is not None:
            try:
                return part(), whole
            except KronaError:  # a bias or a non-linearity that was chosen
                continue
    return None, False


def _weight_norms(adapted: Adapted, adapter: str) -> Iterator[tuple[str, Tensor]]:
    squares: dict[str, list[Tensor]] = {}
    for name, parameter in adapted.branches[adapter].named_parameters():
        squares.setdefault(name.rsplit(".", 1)[-1], []).append(parameter.float().pow(2).sum())
    for kind, parts in squares.items():
        yield kind, torch.stack(parts).sum().sqrt()


def effective_rank(D: Tensor) -> Tensor:
    """(Σσ²)² / Σσ⁴ of a matrix, the participation ratio of its squared singular values: ‖D‖⁴ / ‖D Dᵀ‖², a scalar.

    From 1 to the rank, 0 for no update; one product and no SVD.
    """
    D = D / D.norm().clamp_min(torch.finfo(D.dtype).tiny)
    gram = D @ D.T if D.shape[0] <= D.shape[1] else D.T @ D
    squares = gram.pow(2).sum()
    return torch.where(squares > 0, 1 / squares.clamp_min(torch.finfo(D.dtype).tiny), torch.zeros_like(squares))


def short_name(place: str) -> str:
    """``encoder.block.0.layer.0.SelfAttention.q`` as ``encoder/0/SelfAttention/q``."""
    return re.sub(r"block\.(\d+)\.layer\.\d+\.", r"\1.", place).replace(".", "/")
