"""Compute the exact weighted sum of several adapters of one model, as a new adapter.

The sum of LoRA adapters is a LoRA whose rank is the sum of their ranks. The sum of KronA adapters whose factors have
the same shapes, or of LoKr adapters, is a sum of Kronecker products. Only updates that are linear in the input can be
summed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.adapters.adapter import Adapter
from krona.messages import KronaError
from krona.methods.arguments import check_float
from krona.methods.bitfit import Bias
from krona.methods.fitted_lora import FittedLoRA, fit_loras
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA
from krona.methods.placement import list_placements
from krona.surgery.state import Insertion, adapted_modules, get_adapter, get_state, require_unmerged
from krona.surgery.wrapper import public_name

Weighted = list[tuple[float, Any]]  # the branches at one module, each with the weight of its adapter
Sum = tuple[type[nn.Module] | None, dict[str, Any], dict[str, Tensor]]  # a class, its arguments, and the tensors


@torch.no_grad()
def combine(model: nn.Module, weights: Mapping[str, float], *, into: str) -> None:
    """Insert the weighted sum ``Σ weight · update`` of a model's adapters as a new adapter, and activate it.

    If an adapter has no branch at a module, its update is zero there. For (IA)³ with the scaling vectors ``l``, the sum
    has the scaling vector ``1 + Σ weight (l − 1)``. This is the weighted mean of the ``l`` if the weights sum to 1.
    Adapters also change the weights of LayerNorms, of a head and of other parts of the backbone. The weighted sum of
    these changes is added to the original weights.

    Args:
        weights: a dict from the name of each adapter to its weight in the sum. These adapters stay in the model.
        into: the name of the new adapter.

    Raises:
        KronaError: an update is not linear, or the updates have different kinds or shapes. The model is then unchanged.
    """
    adapters = _check_adapters(model, weights)
    branch, config, tensors = SUMS[_common_kind(adapters)](_branches_by_place(model, adapters, weights))
    tensors |= _sum_backbone_weights(model, adapters, weights)
    Adapter.create(branch, config, tensors, _merge_options(adapters)).insert(model, name=into)


def _check_adapters(model: nn.Module, weights: Mapping[str, float]) -> dict[str, Insertion]:
    state = get_state(model)
    require_unmerged(state)
    if not weights:
        raise KronaError("There is no adapter to sum. Give the name and the weight of at least one.")
    adapters = {name: get_adapter(model, name) for name in weights}
    for name, adapter in adapters.items():
        check_float("weights", weights[name])
        if adapter.irreversible:
            raise KronaError(
                f"Adapter {name!r} was inserted with reversible=False, so the original weights are not available."
            )
        if adapter.insertion["magnitude"]:
            raise KronaError(f"Adapter {name!r} cannot be summed. DoRA's magnitude makes its update non-linear.")
    return adapters


def _common_kind(adapters: Mapping[str, Insertion]) -> Any:
    """Return the class of all branches, or None if the adapters have no branches. FittedLoRA is treated as LoRA."""
    kinds: dict[str, Any] = {n: LoRA if one.branch is FittedLoRA else one.branch for n, one in adapters.items()}
    words = {name: "no branch" if kind is None else kind.__name__ for name, kind in kinds.items()}
    if len(set(kinds.values())) > 1:
        pairs = ", ".join(f"{name!r}: {word}" for name, word in words.items())
        raise KronaError(f"Adapters of different kinds cannot be summed exactly ({pairs}).")
    name, kind = next(iter(kinds.items()))
    if kind not in SUMS:
        why = "" if hasattr(kind, "delta") else ", because they are not linear in the input"
        raise KronaError(
            f"krona cannot sum the updates of {words[name]}{why}. It can sum those of LoRA, KronA, LoKr, (IA)³, BitFit "
            "and LayerNorms."
        )
    return kind


def _branches_by_place(
    model: nn.Module, adapters: Mapping[str, Insertion], weights: Mapping[str, float]
) -> dict[str, Weighted]:
    places: dict[str, Weighted] = {}
    for path, adapted in adapted_modules(model):
        label, own = public_name(path), [name for name in weights if name in adapted.branches]
        if not own:
            continue
        placements = sorted({adapted.places[name].placement for name in own})
        if len(placements) > 1:
            raise KronaError(
                f"The adapters cannot be summed, because their branches at {label} have different placements: "
                f"{', '.join(placements)}."
            )
        places[label] = [(float(weights[name]), branch) for name in own for branch in adapted.branches[name].children()]
        for _, branch in places[label]:
            for attribute, what in (("non_linearity", "a non-linearity"), ("inner_bias", "a bias")):
                if getattr(branch, attribute, None) is not None:
                    raise KronaError(
                        f"{type(branch).__name__} at {label} cannot be summed, because it has {what} between its "
                        "products."
                    )
        _check_placement(label, places[label][0][1], adapters)
    return places


def _check_placement(label: str, branch: nn.Module, adapters: Mapping[str, Insertion]) -> None:
    options = [adapter.insertion for adapter in adapters.values()]
    if isinstance(branch, IA3):
        if any(one["inner_residual"] or one["modules_per_target"] > 1 for one in options):
            raise KronaError(
                f"(IA)³ at {label} cannot be summed, because its output is added to the activations, or because "
                "the module has several branches."
            )
    elif any(set(list_placements(one)) != {"parallel"} for one in options):
        raise KronaError(f"{type(branch).__name__} at {label} cannot be summed. It is not parallel to the layer.")


def _merge_options(adapters: Mapping[str, Insertion]) -> dict[str, Any]:
    options = [adapter.insertion for adapter in adapters.values()]
    placed: dict[str, str] = {}
    for one in options:
        for target, placement in zip(one["target_modules"], list_placements(one), strict=True):
            placed.setdefault(target, placement)
    return {
        "target_modules": list(placed),
        "placement": list(placed.values()) or "parallel",
        "inner_residual": all(one["inner_residual"] for one in options),
        "train_layer_norms": any(one["train_layer_norms"] for one in options),
        "train_backbone": any(one["train_backbone"] for one in options),
        "head": list(dict.fromkeys(module for one in options for module in one.get("head", ()))),
    }


def _sum_backbone_weights(
    model: nn.Module, adapters: Mapping[str, Insertion], weights: Mapping[str, float]
) -> dict[str, Tensor]:
    originals = get_state(model).originals
    sums: dict[str, Tensor] = {}
    for name, adapter in adapters.items():
        for key, p in adapter.trained.items():
            original = originals[key].double()
            sums[key] = sums.get(key, original) + weights[name] * (p.double() - original)
    return sums


def _sum_loras(places: Mapping[str, Weighted]) -> Sum:
    sums = {
        label: (
            torch.cat([branch.A.double() for _, branch in branches], dim=1),
            torch.cat([weight * branch.scaling * branch.B.double() for weight, branch in branches]),
        )
        for label, branches in places.items()
    }
    return fit_loras(sums, scaling=1.0)


def _sum_products(places: Mapping[str, Weighted]) -> Sum:
    shapes: dict[tuple[int, ...], str] = {}
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    for label, branches in places.items():
        factors = [(weight, *_kron_factors(branch)) for weight, branch in branches]
        for _, A, _ in factors:
            shapes.setdefault(tuple(A.shape[1:]), label)
        if len(shapes) > 1:
            (one, first), (other, second) = list(shapes.items())[:2]
            raise KronaError(
                f"Kronecker products of different shapes cannot be summed exactly. A is {one} at {first} and {other} "
                f"at {second}."
            )
        sums[label] = (
            torch.cat([A.double() for _, A, _ in factors]),
            torch.cat([weight * B.double() for weight, _, B in factors]),
        )
    terms = max(len(A) for A, _ in sums.values())
    shape = next(iter(shapes))
    config = {"kron_factors": [list(shape)], "terms": terms, "scaling": 1.0, "bias": 0, "residual": None}
    tensors: dict[str, Tensor] = {}
    for label, pair in sums.items():
        A, B = (F.pad(factor, (0, 0, 0, 0, 0, terms - len(factor))) for factor in pair)
        tensors[f"{label}.0.A"], tensors[f"{label}.0.B"] = (A, B) if terms > 1 else (A[0], B[0])
    biases = _sum_parameter(places, "bias", lambda branch: branch.scaling * branch.bias)
    if biases:
        config["bias"] = 1
        for label, (_, B) in sums.items():
            tensors[f"{label}.0.bias"] = biases.get(label, torch.zeros(shape[1] * B.shape[2]))
    residuals = _sum_parameter(places, "residual_scale", lambda branch: branch.gate())
    if residuals:
        config["residual"] = "scale"
        for label in sums:
            tensors[f"{label}.0.residual_scale"] = residuals.get(label, torch.zeros(()))
    return Kronecker, config, tensors


def _kron_factors(branch: Any) -> tuple[Tensor, Tensor]:
    """Return the factors (T, a1, a2) and (T, b1, b2) of a branch. One factor is multiplied by the branch's scale."""
    if isinstance(branch, LoKr):
        W1, W2 = branch.factors()
        return W1.T[None], branch.scaling * W2.T[None]
    A, B = branch.scaling * branch.A, branch.B
    return (A, B) if A.dim() == 3 else (A[None], B[None])


def _sum_parameter(places: Mapping[str, Weighted], name: str, read: Callable[[Any], Tensor]) -> dict[str, Tensor]:
    """Return the weighted sum of ``read(branch)`` at each module, over the branches with the parameter ``name``."""
    sums: dict[str, Tensor] = {}
    for label, branches in places.items():
        values = [weight * read(one).double() for weight, one in branches if getattr(one, name, None) is not None]
        if values:
            sums[label] = torch.stack(values).sum(0)
    return sums


def _sum_scales(places: Mapping[str, Weighted]) -> Sum:
    changes = _sum_parameter(places, "scale", lambda branch: branch.scale.double() - 1)
    return IA3, {}, {f"{label}.0.scale": 1 + change for label, change in changes.items()}


def _sum_biases(places: Mapping[str, Weighted]) -> Sum:
    biases = _sum_parameter(places, "bias", lambda branch: branch.bias)
    return Bias, {}, {f"{label}.0.bias": bias for label, bias in biases.items()}


SUMS: Mapping[Any, Callable[[Mapping[str, Weighted]], Sum]] = {
    LoRA: _sum_loras,
    Kronecker: _sum_products,
    LoKr: _sum_products,
    IA3: _sum_scales,
    Bias: _sum_biases,
    None: lambda places: (None, {}, {}),
}
