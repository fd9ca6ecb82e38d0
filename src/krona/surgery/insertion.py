"""Insertion of adapters into a model, the switch between them, and their removal."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from krona.kernels.t5_modules import restore_modules, use_fast_modules
from krona.messages import KronaError
from krona.surgery.branches import build, existing_names
from krona.surgery.leaving import allow_saving, refuse_saving
from krona.surgery.merging import unmerge
from krona.surgery.standing_aside import copies_of, exchange, follow, unfollow
from krona.surgery.trainable import trained_names
from krona.surgery.wrapper import (
    WRAPPER_PARTS,
    Adapted,
    Inserted,
    Insertion,
    Placement,
    adapted_modules,
    adapter_named,
    public_name,
    replace,
    state_of,
)

NO_COPY = "adapter {!r} was inserted with reversible=False: the backbone's own weights train and no copy is kept"


def insert(
    model: nn.Module,
    branch: Callable[..., nn.Module] | None = None,
    *,
    target_modules: Sequence[str] = (),
    placement: Placement | Sequence[Placement] = "parallel",
    inner_residual: bool = True,
    modules_per_target: int = 1,
    magnitude: bool = False,
    train_layer_norms: bool = True,
    train_backbone: bool = False,
    head: Sequence[str] = (),
    name: str = "default",
    reversible: bool = True,
    **branch_config: Any,
) -> None:
    """Freeze the backbone, insert branches at ``target_modules``, and make what trains trainable.

    Args:
        branch: called as ``branch(d_in, d_out, **branch_config)`` for each place; None: no branch.
        target_modules: names of modules or patterns over them (`krona.surgery.targets`).
        placement: one for all, or one for each of ``target_modules``.
        inner_residual: sequential and before are ``h + branch(h)``; false: ``branch(h)`` alone.
        modules_per_target: branches at each place (KronA^B has two to each FFN).
        magnitude: DoRA's magnitude over the branches of a linear layer.
        train_layer_norms: all normalisations train too (47,616 weights on T5-base; docs/fidelity.md: on).
        train_backbone: everything trains (full fine-tuning).
        head: modules that are new on each task (``["classifier"]``): they train whatever the method is.
        name: this adapter's name for `activate`, `take_out` and the others.
        reversible: keep a copy of the backbone's weights that train, for ``take_out`` and for other adapters in the
            model (full: one more copy of the model).
        branch_config: the branch's own arguments.

    Raises:
        KronaError: a pattern that matches nothing, a branch that does not fit, a name in use, an adapter beside one
            that keeps no copy of what it trains. The model is untouched then.
    """
    state: Inserted = model.__dict__.get("krona") or Inserted()
    _check_name(name, state)
    if not state.adapters:
        _check_module_names(model)
    insertion: dict[str, Any] = {
        "target_modules": list(target_modules),
        "placement": placement if isinstance(placement, str) else list(placement),
        "inner_residual": inner_residual,
        "modules_per_target": modules_per_target,
        "magnitude": magnitude,
        "train_layer_norms": train_layer_norms,
        "train_backbone": train_backbone,
        **({"head": list(head)} if head else {}),
    }
    # all are built before the first is put in: an error leaves the model as it was
    placing = {key: value for key, value in insertion.items() if not key.startswith("train_") and key != "head"}
    built = [] if branch is None else build(model, branch, branch_config, **placing)
    trains = trained_by(model, branch, insertion)
    _check_others(name, state, irreversible=bool(trains) and not reversible)
    copies = copies_of(model, trains, state, reversible=reversible)
    if not state.adapters:
        state.required_grad = {n: p.requires_grad for n, p in model.named_parameters()}
    adapter = Insertion(branch=branch, branch_config=dict(branch_config), insertion=insertion, reversible=reversible)
    model.__dict__["krona"] = state
    model.requires_grad_(False)
    for at in reversed(built):  # the inner before the outer: names stay right
        adapted = model.get_submodule(at.place)
        if not isinstance(adapted, Adapted):
            adapted = Adapted(adapted)
            replace(model, at.place, adapted)
        adapted.put_in(name, at.branches, at.how, at.magnitude, at.entry)
    for parameter_name, (slots, original, copy) in copies.items():
        adapter.trained[parameter_name], state.slots[parameter_name] = copy, slots
        if reversible:
            state.originals[parameter_name] = original
    state.adapters[name] = adapter
    follow(model)
    use_fast_modules(model)
    refuse_saving(model)
    activate(model, name)


def trained_by(model: nn.Module, branch: Callable[..., nn.Module] | None, insertion: Mapping[str, Any]) -> list[str]:
    """Public names of the backbone's own parameters that an insertion trains."""
    flags = {key: insertion[key] for key in ("train_layer_norms", "train_backbone", "head") if key in insertion}
    return trained_names(model, **flags, existing=existing_names(model, branch, insertion["target_modules"]))


def activate(model: nn.Module, name: str | None) -> None:
    """Switch to one of the adapters by name, or to the bare backbone (None). Only the active one trains."""
    state = state_of(model)
    if name is not None:
        adapter_named(model, name)
    elif state.active is not None and state.adapters[state.active].irreversible:
        raise KronaError(f"{NO_COPY.format(state.active)}: there is no bare backbone; load it again")
    if state.merged is not None and name != state.merged:
        raise KronaError(f"adapter {state.merged!r} is merged into the weights: surgery.unmerge(model) first")
    exchange(model, state, name)
    state.active = name
    for _, adapted in adapted_modules(model):
        adapted.active = name
        for adapter_name in adapted.branches:
            for _, parameter in adapted.own_parameters(adapter_name):
                parameter.requires_grad_(adapter_name == name)
    for original in state.originals.values():
        original.requires_grad_(False)
    for parameter in state.adapters[name].trained.values() if name is not None else ():
        parameter.requires_grad_(True)


def take_out(model: nn.Module, name: str | None = None) -> None:
    """Take out one adapter, or all: with the last one the backbone is bit for bit what it was before.

    Modules and weights that were exchanged by hand since stay (`krona.surgery.standing_aside`).

    Raises:
        KronaError: an adapter that keeps no copy of what it trains, a weight that was resized since. The model is
            untouched then.
    """
    state = state_of(model)
    leaving = [name] if name is not None else list(state.adapters)
    for adapter_name in leaving:
        if adapter_named(model, adapter_name).irreversible:
            raise KronaError(f"{NO_COPY.format(adapter_name)}: it can't be taken out; load the backbone again")
    others = [other for other in state.adapters if other not in leaving]
    staying = state.active if state.active in others else None
    after = staying or (state.merged if state.merged in others else None) or next(iter(others), None)
    exchange(model, state, after, dry=True)
    if state.merged in leaving:
        unmerge(model)
    if state.merged is None:
        activate(model, None)
    for adapter_name in leaving:
        for place, adapted in reversed(list(adapted_modules(model))):
            adapted.drop(adapter_name)
            if not adapted.branches:
                replace(model, place, adapted.base)
        del state.adapters[adapter_name]
    if after is not None:
        activate(model, after)
        return
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(state.required_grad.get(parameter_name, parameter.requires_grad))
    restore_modules(model)
    allow_saving(model)
    unfollow(model)
    del model.__dict__["krona"]


def _check_name(name: str, state: Inserted) -> None:
    if name in state.adapters:
        raise KronaError(f"an adapter named {name!r} is in the model already: take it out first or use another name")
    if not name or "." in name or name in WRAPPER_PARTS or name.isdigit() or hasattr(nn.ModuleDict(), name):
        raise KronaError(
            f"{name!r} can't name an adapter: no dots, no number, none of {', '.join(WRAPPER_PARTS)}, and no name of "
            "nn.ModuleDict's own"
        )
    if state.merged is not None:
        raise KronaError(f"adapter {state.merged!r} is merged into the weights: surgery.unmerge(model) first")


def _check_module_names(model: nn.Module) -> None:
    """An error for a model without adapters whose own modules have names that the wrappers use."""
    names = [name for name, _ in model.named_parameters()]
    taken = [name for name in names if {*WRAPPER_PARTS[1:]} & {*name.split(".")}]
    public = Counter(map(public_name, names))
    taken += [name for name in names if public[public_name(name)] > 1]
    if taken:
        raise KronaError(
            f"{taken[0]}: {', '.join(WRAPPER_PARTS)} are names of this project's wrappers, and a model whose own "
            "modules are named so can't be told from them: rename the module"
        )


def _check_others(name: str, state: Inserted, *, irreversible: bool) -> None:
    """Adapters of one model share its backbone: beside another, none may train it without a copy."""
    for other, adapter in state.adapters.items():
        if adapter.irreversible:
            raise KronaError(
                f"{NO_COPY.format(other)}: {name!r} would use the weights that it trained. Load the backbone again, "
                f"and insert {other!r} with reversible=True if both are to be in it"
            )
        if irreversible:
            raise KronaError(
                f"{NO_COPY.format(name)}: {other!r}, which is in the model too, would use the weights that it trains. "
                f"Insert {name!r} with reversible=True, or take {other!r} out first"
            )
