"""Merge an adapter with a linear update into the backbone's weights (Eq. 4), and undo it.

A merged weight is a new tensor; ``unmerge`` puts the original object back. Nothing merges implicitly, not even
``eval()``. LayerNorms that train with an adapter are weights of the model in any case.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.branches import delta_of
from krona.surgery.layers import is_conv1d, is_linear, matrix_of
from krona.surgery.wrapper import Adapted, BranchPlacement, adapted_modules, adapter_named, public_name, state_of


def merge(model: nn.Module, name: str | None = None) -> None:
    """Merge an adapter (None: the active one) into the weights: the model is then as fast as its backbone.

    The sum is taken in fp32 (fp64 for an fp64 model) and cast to the weight's dtype last.

    Raises:
        KronaError: a branch that no weight can hold, with the reason; another adapter is merged. The model is
            unchanged then.
    """
    state = state_of(model)
    name = state.active if name is None else name
    if name is None:
        raise KronaError("no adapter is active: surgery.activate(model, name), or name the one to merge")
    adapter_named(model, name)
    if state.merged is not None:
        raise KronaError(f"adapter {state.merged!r} is merged already: surgery.unmerge(model) first")
    if name != state.active:
        raise KronaError(f"adapter {name!r} is not the active one: surgery.activate(model, {name!r}) first")
    places = [(place, adapted) for place, adapted in adapted_modules(model) if name in adapted.branches]
    merged = [merged_weight(place, adapted, name) for place, adapted in places]
    for (place, adapted), weight in zip(places, merged, strict=True):
        own: Any = adapted.base.weight
        state.own_weights[place] = own
        adapted.base.weight = nn.Parameter(weight, requires_grad=False)
        adapted.merged = True
    state.merged = name


def unmerge(model: nn.Module) -> None:
    """Put the backbone's own weights back, bit-identical, and let the branches run again."""
    state = state_of(model)
    if state.merged is None:
        raise KronaError("no adapter is merged")
    for place, adapted in adapted_modules(model):
        if adapted.merged:
            adapted.base.weight = state.own_weights[place]
            adapted.merged = False
    state.own_weights.clear()
    state.merged = None


def add_update(W: Tensor, matrices: Sequence[Tensor], how: BranchPlacement) -> Tensor:
    """(d_out, d_in): the weight W of a layer with the matrices D of its branches: W + Σ D, (1 + D) W or W (1 + D)."""
    if how.placement == "before":  # W (1 + D₂)(1 + D₁): the first at the input is the last in the product
        matrices = matrices[::-1]
    for D in matrices:
        if how.placement == "parallel":
            W = W + D
        elif how.placement == "sequential":  # y (1 + D)
            W = W + D @ W if how.inner_residual else D @ W
        else:
            W = W + W @ D if how.inner_residual else W @ D
    return W


@torch.no_grad()
def merged_weight(place: str, adapted: Adapted, name: str) -> Tensor:
    """Return the layer's weight (d_out, d_in) with an adapter merged into it, in the weight's dtype."""
    base, how = adapted.base, adapted.places[name]
    label = public_name(place)
    if not is_linear(base) or name in adapted.captures:
        raise KronaError(
            f"adapter {name!r} is at {label}, "
            f"{'the end of a block' if name in adapted.captures else f'a {type(base).__name__} and no linear layer'}: "
            "no single weight can hold it (section 3.3). Keep it beside the block"
        )
    own = matrix_of(base)
    W = own.to(torch.promote_types(own.dtype, torch.float32))
    branches = adapted.branches[name].children()
    W = add_update(W, [delta_of(label, copy.deepcopy(branch).to(W.dtype)) for branch in branches], how)
    if name in adapted.magnitudes:
        magnitude: Any = adapted.magnitudes[name].magnitude
        W = magnitude.to(W.dtype)[:, None] * W / torch.linalg.vector_norm(W, dim=1, keepdim=True)
    if how.placement == "sequential" and base.bias is not None:
        raise KronaError(f"{label} has a bias that a sequential branch would change too: keep the branch beside it")
    merged: Tensor = (W.T if is_conv1d(base) else W).to(own.dtype).clone(memory_format=torch.contiguous_format)
    return merged
