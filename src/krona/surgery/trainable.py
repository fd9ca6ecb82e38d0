"""The trainable parameters of a model with an adapter: their number, their tensors by name, and copying into them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.layers import is_linear, is_norm
from krona.surgery.standing_aside import check_trained
from krona.surgery.targets import widths, widths_at
from krona.surgery.wrapper import Adapted, adapted_modules, adapter_named, base_of, of_an_adapter, public_name


@dataclass(frozen=True)
class Count:
    """Parameters that train with the method, those of the backbone before insertion (tied weights counted once), and
    those of a head that is new on each task: they train with every method, and are in neither of the others."""

    trainable: int
    backbone: int
    head: int = 0

    @property
    def percent(self) -> float:
        """trainable_percent: of the backbone before insertion."""
        return 100 * self.trainable / self.backbone


def count(model: nn.Module) -> Count:
    """Trainable parameters, and the backbone's before insertion."""
    own = {public_name(n): p for n, p in model.named_parameters() if not of_an_adapter(n)}
    head = sum(own[name].numel() for name in _within(own, head_of(model)))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    backbone = sum(p.numel() for p in own.values())
    return Count(trainable=trainable - head, backbone=backbone - head, head=head)


def head_of(model: nn.Module) -> list[str]:
    """The modules of a head that trains with every method."""
    adapters = model.__dict__["krona"].adapters.values() if "krona" in model.__dict__ else ()
    return next((list(adapter.insertion.get("head", ())) for adapter in adapters), [])


def update_rank(model: nn.Module) -> int | None:
    """The highest rank that an update of one place can have; None where one is no linear map.

    Branches at one place add up, and no rank is above the place's widths.
    """
    adapter = adapter_named(model, "default")
    if adapter.insertion["train_backbone"]:
        outside = ("lm_head", *head_of(model))
        linear = [widths(m) for n, m in model.named_modules() if is_linear(m) and n.split(".")[0] not in outside]
        return max(map(min, linear))
    ranks: list[int] = []
    for _, adapted in adapted_modules(model):
        if (rank := rank_of_branches(adapted, "default")) is None:
            return None
        ranks.append(min(widths_at(adapted, "default")) if "default" in adapted.magnitudes else rank)
    # without branches, what trains in their place moves outputs and no weight: a rank of 0, as a branch for it has
    return max(ranks, default=getattr(adapter.branch, "update_rank", None))


def rank_of_branches(adapted: Adapted, name: str) -> int | None:
    """The highest rank that an adapter's branches at a place can have together; None where one is no linear map."""
    branches: Any = adapted.branches[name]
    own: list[int | None] = [getattr(branch, "update_rank", None) for branch in branches]
    known = [rank for rank in own if rank is not None]
    return None if len(known) < len(own) else min(*widths_at(adapted, name), sum(known))


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """What trains, by name: ``encoder.block.0.layer.0.SelfAttention.q.0.A``, ``decoder.final_layer_norm.weight``.

    A branch's number at its place comes before the parameter's name: KronA^B has ``DenseReluDense.0.A`` and ``….1.A``.
    A parameter that several places share is listed once, under the first place's name.
    """
    return {public_name(n): p for n, p in model.named_parameters() if p.requires_grad}


def adapter_state(model: nn.Module, name: str) -> dict[str, Tensor]:
    """What one adapter trains, active or not, under the names of `trainable_state`.

    Raises KronaError if a weight that it trains is no longer in the model.
    """
    adapter = adapter_named(model, name)
    check_trained(model, name)
    owned: dict[int, tuple[str, Tensor]] = {}
    for place, adapted in adapted_modules(model):
        for parameter_name, parameter in adapted.own_parameters(name):
            owned.setdefault(id(parameter), (f"{public_name(place)}.{parameter_name}", parameter))
    return dict(owned.values()) | dict(adapter.trained)


def trained_names(
    model: nn.Module,
    *,
    train_layer_norms: bool,
    train_backbone: bool,
    head: Sequence[str] = (),
    existing: Sequence[str] = (),
) -> list[str]:
    """Public names of the backbone's own parameters that train; a tied weight once, by its first name.

    existing: parameters that train in the place of a branch. Raises KronaError for a head or normalisations that the
    model has not.
    """
    names = [public_name(name) for name, _ in model.named_parameters() if not of_an_adapter(name)]
    for module in head:
        if not _within(names, [module]):
            raise KronaError(f"head: this model has no weights under {module!r}")
    if train_backbone:
        return names
    wanted = {*existing, *_within(names, head)}
    if train_layer_norms:
        norms = [public_name(n) for n, m in model.named_modules() if is_norm(base_of(m))]
        if not (found := _within(names, norms)):
            raise KronaError(
                "train_layer_norms: this model has no module whose class ends in Norm and has a weight: "
                "train_layer_norms=false"
            )
        wanted.update(found)
    return [name for name in names if name in wanted]


def _within(names: Iterable[str], modules: Sequence[str]) -> list[str]:
    """Those names that are of these modules, or of modules in them."""
    prefixes = tuple(f"{module}." for module in modules)
    return [name for name in names if name.startswith(prefixes)]


def load_trainable_state(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy tensors into what trains. Other keys or shapes are an error, and nothing is copied."""
    copy_into(trainable_state(model), tensors)


def copy_into(own: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Copy tensors into those of the same names. Other names or shapes are an error, and nothing is copied."""
    if own.keys() != tensors.keys():
        missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        raise KronaError(
            f"these weights are of another method or backbone: {len(missing)} of {len(own)} names are missing"
            f"{f' (first {missing[0]})' if missing else ''}, {len(unknown)} are unknown"
            f"{f' (first {unknown[0]})' if unknown else ''}"
        )
    for parameter_name, parameter in own.items():
        if parameter.shape != tensors[parameter_name].shape:
            raise KronaError(
                f"{parameter_name} is {tuple(tensors[parameter_name].shape)} in these weights and "
                f"{tuple(parameter.shape)} in the model"
            )
    with torch.no_grad():
        for parameter_name, parameter in own.items():
            parameter.copy_(tensors[parameter_name])
