"""Compute gradient norms, and the norm and the effective rank of each adapted module's update."""

import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from krona.adapters.update import mean, spectrum
from krona.messages import KronaError
from krona.surgery.layers import is_norm
from krona.surgery.state import adapted_modules
from krona.surgery.wrapper import is_in_adapter, public_name


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """Return the Euclidean norm of the gradients by kind of parameter.

    The kind of a branch's parameter is its name in the branch, such as ``A``, ``B`` or ``bias``. The kinds of the
    backbone's parameters are ``layer_norm`` and ``other``. The norms are tensors on the device of the gradients, so the
    CPU does not have to wait for the GPU.
    """
    gradients = []
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            module, _, last = name.rpartition(".")
            kind = "layer_norm" if is_norm(model.get_submodule(module)) else "other"
            gradients.append((last if is_in_adapter(name) else kind, parameter.grad))
    return _norms_by_kind(gradients)


@torch.no_grad()
def update_values(model: nn.Module) -> dict[str, float]:
    """Return a dict with the norm and the effective rank of each adapted module's update.

    The dict has these keys (see docs/tracking.md), where ``<place>`` is the short name of the module:

    - ``update_norm/<place>`` and ``update_rank/<place>`` are the norm and the effective rank of the module's update
      (`krona.adapters.update.Spectrum`). ``update_norm/mean`` and ``update_rank/mean`` are their means over the
      modules.
    - ``weight_norm/<place>/<kind>`` is the norm of the module's branch parameters with the name ``<kind>``. This key
      exists only if a matrix cannot describe the whole update, because the branches have a bias or are not linear.
    """
    values: dict[str, float] = {}
    places: set[str] = set()
    for name, adapted in adapted_modules(model):
        if adapted.active is None or adapted.active not in adapted.branches:
            continue
        # For example, encoder.block.0.layer.0.SelfAttention.q becomes encoder/0/SelfAttention/q.
        module = re.sub(r"block\.(\d+)\.layer\.\d+\.", r"\1.", public_name(name)).replace(".", "/")
        module = public_name(name) if module in places else module  # BitFit adapts the LayerNorms of a block's layers
        places.add(module)
        weights = [(key.rpartition(".")[2], p) for key, p in adapted.branches[adapted.active].named_parameters()]
        has_matrix = not any(kind.endswith("bias") for kind, _ in weights)
        try:
            update = spectrum(adapted, adapted.active)
            values |= {f"update_norm/{module}": update.norm, f"update_rank/{module}": update.effective_rank or 0.0}
        except KronaError:  # the branch is not linear
            has_matrix = False
        if not has_matrix:
            norms = _norms_by_kind(weights)
            values |= {f"weight_norm/{module}/{kind}": float(norm) for kind, norm in norms.items()}
    for key in ("update_norm", "update_rank"):
        average = mean(value for name, value in values.items() if name.startswith(f"{key}/"))
        values |= {} if average is None else {f"{key}/mean": average}
    return values


def _norms_by_kind(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    squares: dict[str, list[Tensor]] = {}
    for kind, tensor in tensors:
        squares.setdefault(kind, []).append(tensor.detach().float().pow(2).sum())
    return {kind: torch.stack(parts).sum().sqrt() for kind, parts in squares.items()}
