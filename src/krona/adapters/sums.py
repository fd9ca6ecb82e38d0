"""The weighted sum of several adapters of one model, exact, as one adapter.

LoRAs side by side are a LoRA whose rank is the sum of their ranks. KronAs of the same shapes, and LoKrs, are a sum of
Kronecker products. Only updates that are linear in the input have a sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.arguments import check_float
from krona.methods.bitfit import Bias
from krona.methods.fitted_lora import FittedLoRA, widen_factors
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA
from krona.surgery.insertion import activate, insert, take_out
from krona.surgery.trainable import adapter_state, copy_into
from krona.surgery.wrapper import Insertion, adapted_modules, adapter_named, public_name, state_of

Weighted = list[tuple[float, Any]]  # the branches at a place, with the weights of their adapters


@dataclass
class Sum:
    """The class, the arguments and the tensors of the branches that compute a weighted sum."""

    branch: type[nn.Module] | None
    config: dict[str, Any]
    tensors: dict[str, Tensor]


@torch.no_grad()
def combine(model: nn.Module, weights: Mapping[str, float], *, into: str) -> None:
    """Insert ``Σ weight · update`` of adapters of this model as the adapter ``into``, the active one.

    An adapter without a branch at a place adds nothing there. (IA)³'s ``l`` becomes ``1 + Σ weight (l − 1)``, the
    weighted mean if the weights sum to 1. LayerNorms, a head and other weights of the backbone become the original plus
    the weighted sum of what each adapter changed.

    Args:
        weights: of the adapters by name. They stay in the model.

    Raises:
        KronaError: the updates are not linear, or of several kinds or shapes. The model is untouched then.
    """
    adapters = _check_adapters(model, weights)
    kind = _common_kind(adapters)
    places = _branches_by_place(model, weights)
    for label, branches in places.items():
        _check_place(label, branches, list(adapters.values()))
    if kind is LoRA:
        made = _sum_loras(places)
    elif kind in (Kronecker, LoKr):
        made = _sum_products(places)
    else:
        made = Sum(kind, {}, {})
        for label, branches in places.items():
            if kind is IA3:
                scales = [weight * (branch.scale.double() - 1) for weight, branch in branches]
                made.tensors[f"{label}.0.scale"] = 1 + torch.stack(scales).sum(0)
            else:
                biases = [weight * branch.bias.double() for weight, branch in branches]
                made.tensors[f"{label}.0.bias"] = torch.stack(biases).sum(0)
    tensors = made.tensors | _sum_trained(model, adapters, weights)
    before = state_of(model).active
    insert(model, made.branch, name=into, **_insertion(list(adapters.values())), **made.config)
    try:
        copy_into(adapter_state(model, into), tensors)
    except KronaError:
        take_out(model, into)
        activate(model, before)
        raise


def _check_adapters(model: nn.Module, weights: Mapping[str, float]) -> dict[str, Insertion]:
    state = state_of(model)
    if state.merged is not None:
        raise KronaError(f"adapter {state.merged!r} is merged into the weights: surgery.unmerge(model) first")
    adapters = {name: adapter_named(model, name) for name in weights}
    for name, adapter in adapters.items():
        check_float("weights", weights[name])
        if adapter.irreversible:
            raise KronaError(
                f"Adapter {name!r} was inserted with reversible=False: no copy of the original weights is left to "
                "take a difference from."
            )
        if adapter.insertion["magnitude"]:
            raise KronaError(f"Adapter {name!r} has DoRA's magnitude, so its update is not linear in ΔW.")
    return adapters


def _common_kind(adapters: Mapping[str, Insertion]) -> Any:
    """Return the class of all branches, LoRA for a fitted LoRA; None for adapters without branches."""
    kinds: dict[str, Any] = {n: LoRA if one.branch is FittedLoRA else one.branch for n, one in adapters.items()}
    words = {name: "no branch" if kind is None else kind.__name__ for name, kind in kinds.items()}
    if len(set(kinds.values())) > 1:
        pairs = ", ".join(f"{name!r}: {word}" for name, word in words.items())
        raise KronaError(f"Adapters of several kinds have no exact sum ({pairs}).")
    name, kind = next(iter(kinds.items()))
    if kind not in (LoRA, IA3, Bias, Kronecker, LoKr, None):
        why = "has no exact sum of its form" if hasattr(kind, "delta") else "is not linear in its input"
        raise KronaError(f"{words[name]} {why}. LoRA, KronA, LoKr, (IA)³, BitFit and LayerNorms can be summed.")
    return kind


def _branches_by_place(model: nn.Module, weights: Mapping[str, float]) -> dict[str, Weighted]:
    places: dict[str, Weighted] = {}
    for path, adapted in adapted_modules(model):
        label = public_name(path)
        ways = {adapted.places[name].placement for name in weights if name in adapted.places}
        if len(ways) > 1:
            raise KronaError(f"The adapters act in different ways at {label}: {', '.join(sorted(ways))}.")
        branches = [
            (float(weight), branch)
            for name, weight in weights.items()
            if name in adapted.branches
            for branch in adapted.branches[name].children()
        ]
        if branches:
            places[label] = branches
    return places


def _check_place(label: str, branches: Weighted, adapters: Sequence[Insertion]) -> None:
    for _, branch in branches:
        for attribute, what in (("non_linearity", "a non-linearity"), ("inner_bias", "a bias")):
            if getattr(branch, attribute, None) is not None:
                raise KronaError(f"{type(branch).__name__} at {label} has {what} between its products.")
    first = branches[0][1]
    if isinstance(first, IA3):
        if any(one.insertion["inner_residual"] or one.insertion["modules_per_target"] > 1 for one in adapters):
            raise KronaError(f"(IA)³ at {label} does not stand in the place of what it scales.")
    elif any(set(_placements(one)) != {"parallel"} for one in adapters):
        raise KronaError(f"{type(first).__name__} at {label} does not act beside the layer. Such updates have no sum.")


def _placements(adapter: Insertion) -> list[str]:
    placement = adapter.insertion["placement"]
    return [placement] * len(adapter.insertion["target_modules"]) if isinstance(placement, str) else list(placement)


def _insertion(adapters: Sequence[Insertion]) -> dict[str, Any]:
    """Return the arguments of `surgery.insert`: the places of all adapters, and what any of them trains."""
    placed: dict[str, str] = {}
    for adapter in adapters:
        for target, placement in zip(adapter.insertion["target_modules"], _placements(adapter), strict=True):
            placed.setdefault(target, placement)
    given = [adapter.insertion for adapter in adapters]
    return {
        "target_modules": list(placed),
        "placement": list(placed.values()) or "parallel",
        "inner_residual": all(one["inner_residual"] for one in given),
        "train_layer_norms": any(one["train_layer_norms"] for one in given),
        "train_backbone": any(one["train_backbone"] for one in given),
        "head": list(dict.fromkeys(module for one in given for module in one.get("head", ()))),
    }


def _sum_trained(
    model: nn.Module, adapters: Mapping[str, Insertion], weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """Sum the backbone's own weights that train: the original plus the weighted differences from it."""
    originals = state_of(model).originals
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
    rank = max(A.shape[1] for A, _ in sums.values())
    tensors: dict[str, Tensor] = {}
    for label, (A, B) in sums.items():
        tensors[f"{label}.0.A"], tensors[f"{label}.0.B"] = widen_factors(A, B, rank)
    narrow = any(rank > min(len(A), B.shape[1]) for A, B in sums.values())
    return Sum(FittedLoRA if narrow else LoRA, {"rank": rank, "scaling": 1.0}, tensors)


def _sum_products(places: Mapping[str, Weighted]) -> Sum:
    shapes: dict[tuple[int, ...], str] = {}
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    for label, branches in places.items():
        factors = [(weight, *_factors(branch)) for weight, branch in branches]
        for _, A, _ in factors:
            shapes.setdefault(tuple(A.shape[1:]), label)
        if len(shapes) > 1:
            (one, first), (other, second) = list(shapes.items())[:2]
            raise KronaError(
                f"Products of different shapes have no exact sum: A is {one} at {first} and {other} at {second}."
            )
        sums[label] = (
            torch.cat([A.double() for _, A, _ in factors]),
            torch.cat([weight * B.double() for weight, _, B in factors]),
        )
    terms = max(len(A) for A, _ in sums.values())
    tensors: dict[str, Tensor] = {}
    for label, pair in sums.items():
        A, B = (F.pad(factor, (0, 0, 0, 0, 0, terms - len(factor))) for factor in pair)
        tensors[f"{label}.0.A"], tensors[f"{label}.0.B"] = (A, B) if terms > 1 else (A[0], B[0])
    biases = {
        label: _sum_of(branches, "bias", lambda branch: branch.scaling * branch.bias)
        for label, branches in places.items()
    }
    residuals = {
        label: _sum_of(branches, "residual_scale", lambda branch: branch.gate()) for label, branches in places.items()
    }
    ((shape, _),) = shapes.items()
    config = {"kron_factors": [list(shape)], "terms": terms, "scaling": 1.0, "bias": 0, "residual": None}
    if any(bias is not None for bias in biases.values()):
        config["bias"] = 1
        for label, bias in biases.items():
            zeros = torch.zeros(shape[1] * sums[label][1].shape[2])
            tensors[f"{label}.0.bias"] = zeros if bias is None else bias
    if any(scale is not None for scale in residuals.values()):
        config["residual"] = "scale"
        for label, scale in residuals.items():
            tensors[f"{label}.0.residual_scale"] = torch.zeros(()) if scale is None else scale
    return Sum(Kronecker, config, tensors)


def _factors(branch: Any) -> tuple[Tensor, Tensor]:
    """(T, a1, a2) and (T, b1, b2), the scale multiplied in."""
    if isinstance(branch, LoKr):
        W1, W2 = branch.factors()
        return W1.T[None], branch.scaling * W2.T[None]
    A, B = branch.scaling * branch.A, branch.B
    return (A, B) if A.dim() == 3 else (A[None], B[None])


def _sum_of(branches: Weighted, name: str, read: Any) -> Tensor | None:
    """Return the sum of what ``read`` gives for the branches that have the parameter; None if none has it."""
    having = [(weight, branch) for weight, branch in branches if getattr(branch, name, None) is not None]
    values = [weight * read(branch).double() for weight, branch in having]
    return torch.stack(values).sum(0) if values else None
