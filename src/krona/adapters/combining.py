"""Several adapters of one model as one: the weighted sum of their updates, exact or brought back to a size.

`weighted_sums` has the algebra. Only updates that are linear in the input are combined: a weighted sum of two
adapters with a non-linearity is no adapter of their kind.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from krona.adapters.weighted_sums import Part, sum_of_loras, sum_of_products, sum_of_vectors
from krona.messages import KronaError
from krona.methods.arguments import finite
from krona.methods.bitfit import Bias
from krona.methods.fitted_lora import FittedLoRA
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA
from krona.surgery.insertion import activate, insert, take_out
from krona.surgery.trainable import adapter_state, copy_into
from krona.surgery.wrapper import Insertion, adapted_modules, adapter_named, public_name, state_of

PRODUCTS = (Kronecker, LoKr)


@dataclass(frozen=True)
class Combined:
    """What `combine` made: the rank or the number of terms, and the relative Frobenius errors, by place and in all.

    An error is ‖kept − sum‖ / ‖sum‖, of the products alone (biases, residuals, norms and a head are exact).
    """

    branch: type[nn.Module] | None
    size: int
    errors: dict[str, float]
    error: float


@torch.no_grad()
def combine(
    model: nn.Module,
    names: Sequence[str],
    weights: Sequence[float],
    *,
    into: str,
    rank: int | None = None,
    terms: int | None = None,
) -> Combined:
    """Insert ``Σ weight · update`` of adapters of this model as the adapter ``into``, the active one. They stay in it.

    An adapter with no branch at a place adds nothing there. (IA)³'s ``l`` becomes ``1 + Σ weight (l − 1)``, the
    weighted mean if the weights sum to 1; LayerNorms, a head and other weights of the backbone become the original
    plus the weighted sum of what each adapter changed.

    Args:
        rank: of the LoRA; None: the sum of the ranks, which is exact. A lower one is the nearest in Frobenius norm.
        terms: Kronecker products at each place (KronA, KronA^B, LoKr); None: all of them, which is exact.

    Raises:
        KronaError: updates that are not linear, or of several kinds or shapes. The model is untouched then.
    """
    adapters = _checked(model, names, weights)
    kind = _kind({name: adapter.branch for name, adapter in adapters.items()})
    places = _parts(model, dict(zip(names, weights, strict=True)))
    for label, parts in places.items():
        _check_place(label, parts, adapters)
    if rank is not None and kind is not LoRA:
        raise KronaError(f"rank={rank} is for LoRA; these adapters are of {_word(kind)}")
    if terms is not None and kind not in PRODUCTS:
        raise KronaError(f"terms={terms} is for Kronecker products; these adapters are of {_word(kind)}")
    if kind is LoRA:
        made = sum_of_loras(places, rank)
    elif kind in PRODUCTS:
        made = sum_of_products(places, terms)
    else:
        made = sum_of_vectors(kind, places)
    trained = _trained(model, adapters, weights)
    before = state_of(model).active
    insert(model, made.branch, name=into, **_insertion(list(adapters.values())), **made.config)
    try:
        copy_into(adapter_state(model, into), made.tensors | trained)
    except KronaError:
        take_out(model, into)
        activate(model, before)
        raise
    errors = {label: _relative(*pair) for label, pair in made.squares.items()}
    total = _relative(sum(e for e, _ in made.squares.values()), sum(n for _, n in made.squares.values()))
    return Combined(made.branch, made.size, errors, total)


def _checked(model: nn.Module, names: Sequence[str], weights: Sequence[float]) -> dict[str, Insertion]:
    state = state_of(model)
    if not names or len(set(names)) < len(names) or len(names) != len(weights):
        raise KronaError(f"combine takes adapters of different names and a weight for each: {names}, {weights}")
    for weight in weights:
        finite("weights", weight)
    if state.merged is not None:
        raise KronaError(f"adapter {state.merged!r} is merged into the weights: surgery.unmerge(model) first")
    adapters = {name: adapter_named(model, name) for name in names}
    for name, adapter in adapters.items():
        if adapter.irreversible:
            raise KronaError(
                f"adapter {name!r} keeps no copy of what it trained (reversible=False): no difference of it"
            )
        if adapter.insertion["magnitude"]:
            raise KronaError(
                f"adapter {name!r} has DoRA's magnitude, which divides by the length of W + ΔW: its update is not "
                "linear in ΔW, and a sum of two is no DoRA"
            )
    return adapters


def _kind(branches: dict[str, Any]) -> Any:
    """The one class of the branches, a fitted LoRA being a LoRA; None for adapters without branches."""
    kinds = {name: LoRA if branch is FittedLoRA else branch for name, branch in branches.items()}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name!r}: {_word(kind)}" for name, kind in kinds.items())
        raise KronaError(f"adapters of several kinds have no sum of one kind ({listed})")
    (kind,) = set(kinds.values())
    if kind not in (LoRA, IA3, Bias, None, *PRODUCTS):
        why = "krona writes no sum of two" if hasattr(kind, "delta") else "a weighted sum of two is none"
        linear = "has no sum of its form here" if hasattr(kind, "delta") else "is not linear in its input"
        raise KronaError(f"{_word(kind)} {linear}: {why}. Combined are LoRA, KronA, LoKr, (IA)³, BitFit and LayerNorms")
    return kind


def _word(kind: Any) -> str:
    return "no branch" if kind is None else getattr(kind, "__name__", repr(kind))


def _parts(model: nn.Module, weights: dict[str, float]) -> dict[str, list[Part]]:
    places: dict[str, list[Part]] = {}
    for place, adapted in adapted_modules(model):
        parts = [
            Part(float(weight), list(adapted.branches[name].children()))
            for name, weight in weights.items()
            if name in adapted.branches
        ]
        if len(ways := {adapted.places[name].placement for name in weights if name in adapted.places}) > 1:
            raise KronaError(f"the adapters act in different ways at {public_name(place)}: {', '.join(sorted(ways))}")
        if parts:
            places[public_name(place)] = parts
    return places


def _check_place(label: str, parts: list[Part], adapters: dict[str, Insertion]) -> None:
    branches = [branch for part in parts for branch in part.branches]
    for branch in branches:
        if getattr(branch, "non_linearity", None) is not None or getattr(branch, "inner_bias", None) is not None:
            what = "a bias" if getattr(branch, "non_linearity", None) is None else "a non-linearity"
            raise KronaError(
                f"{type(branch).__name__} at {label} has {what} between its products: it is no sum of them"
            )
    ways = {str(adapter.insertion["inner_residual"]) for adapter in adapters.values()}
    if isinstance(branches[0], IA3):
        if ways != {"False"} or any(len(part.branches) > 1 for part in parts):
            raise KronaError(f"(IA)³ at {label} does not stand in the place of what it scales")
    elif any(set(_placements(adapter)) != {"parallel"} for adapter in adapters.values()):
        raise KronaError(
            f"{type(branches[0]).__name__} at {label} acts on an output or input, not beside: no plain sum"
        )


def _placements(adapter: Insertion) -> list[str]:
    placement = adapter.insertion["placement"]
    return [placement] * len(adapter.insertion["target_modules"]) if isinstance(placement, str) else list(placement)


def _insertion(adapters: Sequence[Insertion]) -> dict[str, Any]:
    """The places of all; what any of them trains. Branches that add up at a place have become one."""
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


def _trained(model: nn.Module, adapters: dict[str, Insertion], weights: Sequence[float]) -> dict[str, Tensor]:
    """The backbone's own weights that train: the original plus the weighted sum of the differences from it."""
    originals = state_of(model).originals
    sums: dict[str, Tensor] = {}
    for adapter, weight in zip(adapters.values(), weights, strict=True):
        for key, p in adapter.trained.items():
            sums[key] = sums.get(key, originals[key].double()) + weight * (p.double() - originals[key].double())
    return sums


def _relative(error: float, square: float) -> float:
    return math.sqrt(error / square) if square > 0 else 0.0
