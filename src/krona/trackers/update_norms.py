"""Gradient norms; norm and effective rank of each update."""

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from krona.adapters.measure import mean
from krona.adapters.update import spectrum
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

    ``update_norm/<place>`` and ``update_rank/<place>``, and their means, are those of `krona.adapters.update.Spectrum`.
    ``weight_norm/<place>/<kind>`` is the Euclidean norm of the branches' parameters of that name, where a matrix is not
    the whole update (a bias, a non-linearity).
    """
    values: dict[str, float] = {}
    places: set[str] = set()
    for name, adapted in adapted_modules(model):
        if adapted.active is None or adapted.active not in adapted.branches:
            continue
        place = short_name(public_name(name))
        place = public_name(name) if place in places else place
        places.add(place)
        complete = not any(key.endswith("bias") for key, _ in adapted.branches[adapted.active].named_parameters())
        try:
            found = spectrum(adapted, adapted.active)
            values |= {f"update_norm/{place}": found.norm, f"update_rank/{place}": found.effective_rank or 0.0}
        except KronaError:  # not a matrix
            complete = False
        if not complete:
            values |= {f"weight_norm/{place}/{kind}": norm for kind, norm in _weight_norms(adapted, adapted.active)}
    for key in ("update_norm", "update_rank"):
        average = mean(value for name, value in values.items() if name.startswith(f"{key}/"))
        values |= {} if average is None else {f"{key}/mean": average}
    return values


def _weight_norms(adapted: Adapted, adapter: str) -> Iterator[tuple[str, float]]:
    squares: dict[str, list[Tensor]] = {}
    for name, parameter in adapted.branches[adapter].named_parameters():
        squares.setdefault(name.rsplit(".", 1)[-1], []).append(parameter.float().pow(2).sum())
    for kind, parts in squares.items():
        yield kind, float(torch.stack(parts).sum().sqrt())


def short_name(place: str) -> str:
    """``encoder.block.0.layer.0.SelfAttention.q`` as ``encoder/0/SelfAttention/q``."""
    return re.sub(r"block\.(\d+)\.layer\.\d+\.", r"\1.", place).replace(".", "/")
