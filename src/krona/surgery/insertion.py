"""Insertion of adapters into a model, the switch between them, and their removal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from krona.kernels.t5_modules import restore_modules, use_fast_modules
from krona.messages import KronaError
from krona.surgery.branches import build, existing_names
from krona.surgery.leaving import allow_saving, refuse_saving
from krona.surgery.merging import unmerge
from krona.surgery.trainable import trained_names
from krona.surgery.wrapper import (
    Adapted,
    Inserted,
    Insertion,
    Placement,
    adapted_modules,
    adapter_named,
    of_an_adapter,
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
    adapter.trained = _to_train(model, trains, state, reversible=reversible)
    state.adapters[name] = adapter
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
    owners = _parameter_owners(model)
    trained = state.adapters[name].trained if name is not None else {}
    for parameter_name in {p for a in state.adapters.values() for p in a.trained}:
        current = trained.get(parameter_name, state.originals.get(parameter_name))
        if current is not None:
            for owner, attribute in owners[parameter_name]:
                owner._parameters[attribute] = current
    state.active = name
    for _, adapted in adapted_modules(model):
        adapted.active = name
        for adapter_name in adapted.branches:
            for _, parameter in adapted.own_parameters(adapter_name):
                parameter.requires_grad_(adapter_name == name)
    for original in state.originals.values():
        original.requires_grad_(False)
    for parameter in trained.values():
        parameter.requires_grad_(True)


def take_out(model: nn.Module, name: str | None = None) -> None:
    """Take out one adapter, or all: with the last one the backbone is bit for bit what it was before."""
    state = state_of(model)
    leaving = [name] if name is not None else list(state.adapters)
    for adapter_name in leaving:
        if adapter_named(model, adapter_name).irreversible:
            raise KronaError(f"{NO_COPY.format(adapter_name)}: it can't be taken out; load the backbone again")
    if state.merged in leaving:
        unmerge(model)
    staying = state.active if state.active not in leaving else None
    if state.merged is None:
        activate(model, None)
    for adapter_name in leaving:
        for place, adapted in reversed(list(adapted_modules(model))):
            adapted.drop(adapter_name)
            if not adapted.branches:
                replace(model, place, adapted.base)
        del state.adapters[adapter_name]
    if state.adapters:
        activate(model, staying or state.merged or next(iter(state.adapters)))
        return
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(state.required_grad[parameter_name])
    restore_modules(model)
    allow_saving(model)
    del model.__dict__["krona"]


def _check_name(name: str, state: Inserted) -> None:
    if name in state.adapters:
        raise KronaError(f"an adapter named {name!r} is in the model already: take it out first or use another name")
    if not name or "." in name or hasattr(nn.ModuleDict(), name):
        raise KronaError(f"{name!r} can't name an adapter: no dots, and no name of nn.ModuleDict's own")
    if state.merged is not None:
        raise KronaError(f"adapter {state.merged!r} is merged into the weights: surgery.unmerge(model) first")


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


def _to_train(model: nn.Module, names: Sequence[str], state: Inserted, *, reversible: bool) -> dict[str, nn.Parameter]:
    """The backbone's weights that are to train, by name: copies, with the originals kept in ``state``."""
    owners = _parameter_owners(model)
    trained: dict[str, nn.Parameter] = {}
    for name in names:
        owner, attribute = owners[name][0]
        original = state.originals.get(name, owner._parameters[attribute])
        assert original is not None
        if reversible:
            state.originals.setdefault(name, original)
        trained[name] = nn.Parameter(original.detach().clone()) if reversible else original
    return trained


def _parameter_owners(model: nn.Module) -> dict[str, list[tuple[nn.Module, str]]]:
    """Every module and attribute that holds a parameter of the backbone: one list for tied ones, under each name."""
    by_parameter: dict[int, list[tuple[nn.Module, str]]] = {}
    names: dict[str, int] = {}
    for module_name, module in model.named_modules(remove_duplicate=False):
        for attribute, parameter in module._parameters.items():
            if parameter is None or of_an_adapter(f"{module_name}."):
                continue
            by_parameter.setdefault(id(parameter), []).append((module, attribute))
            names[public_name(f"{module_name}.{attribute}")] = id(parameter)
    return {name: by_parameter[identity] for name, identity in names.items()}
