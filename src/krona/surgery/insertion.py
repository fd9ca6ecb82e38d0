"""Insert adapters into a model, switch between them, and remove them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

from torch import nn

from krona.kernels.t5_modules import use_fast_modules
from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.methods.placement import InsertOptions
from krona.surgery.branch_checks import check_first_forward
from krona.surgery.branches import BuiltBranches, build_branches, build_prompt
from krona.surgery.merging import unmerge
from krona.surgery.parameter_swapping import ApplyToAll, copy_trained, swap
from krona.surgery.saving import refuse_saving, remove_branches, restore
from krona.surgery.state import AdapterState, InsertedAdapter, branch_modules, get_adapter, get_state, require_unmerged
from krona.surgery.trainable import trained_names
from krona.surgery.wrapper import WRAPPER_PARTS, Adapted, InputCapture, Prompts, all_names, public_name, replace


def insert(
    model: nn.Module,
    branch: type[Branch] | None = None,
    *,
    name: str = "default",
    reversible: bool = True,
    **arguments: Any,
) -> None:
    """Freeze the backbone, insert an adapter, and make the adapter's parameters trainable.

    Args:
        branch: the class of the branches, a subclass of `krona.methods.branch.Branch`. It is called as
            ``branch(d_in, d_out, ...)`` for each target module. None means that the adapter has no branches.
        name: the name of the adapter for `activate`, `take_out` and other functions.
        reversible: keep a copy of the backbone weights that are trained. Without the copy, the adapter cannot be
            removed, and the model cannot contain another adapter. With the copy, full fine-tuning needs as much memory
            as two models.
        arguments: the fields of `InsertOptions` (``target_modules``, ``placement``, …) and the arguments of the
            branch class.

    Raises:
        KronaError: a pattern matches no module, a branch does not fit its module, the name is in use, or an adapter
            that trains backbone weights with ``reversible=False`` is combined with another adapter. The model is then
            unchanged.
    """
    state: AdapterState = model.__dict__.get("krona") or AdapterState()
    _check_name(name, state)
    _require_weights_before_training(state)
    if not state.adapters:
        _check_module_names(model)
    if branch is not None and not (isinstance(branch, type) and issubclass(branch, Branch)):
        raise KronaError(f"{branch!r} is not a subclass of krona.methods.branch.Branch.")
    keys = {field.name for field in fields(InsertOptions)}
    options = InsertOptions.parse({key: value for key, value in arguments.items() if key in keys})
    branch_config = {key: value for key, value in arguments.items() if key not in keys}
    # everything is built before the model is changed, so that an error leaves the model unchanged
    prompt = build_prompt(model, branch, branch_config, options) if branch is not None else None
    if prompt is not None:
        branch_config = {"config": prompt.config}  # without the arguments of the initial values
    built = [] if branch is None or prompt is not None else build_branches(model, branch, branch_config, options)
    branches = [cast(Branch, module) for at in built for module in at.branches]
    prepared = all(instance.needs is None for instance in branches)
    adapter = InsertedAdapter(branch, branch_config, options.as_dict(), reversible, prepared)
    adapter.training_hook = branches[0].training_hook if branches else None
    adapter.notes = [note for instance in branches for note in instance.notes]
    trains = trained_names(model, branch, adapter.options)
    if state.adapters and trains and not reversible:
        raise KronaError(
            f"Adapter {name!r} must be inserted with reversible=True. Otherwise, the model's other adapters would use "
            "the changed weights."
        )
    copies = copy_trained(model, trains, state, reversible=reversible)
    if not state.adapters:
        state.required_grad = {n: p.requires_grad for n, p in model.named_parameters()}
    model.__dict__["krona"] = state
    model.requires_grad_(False)
    names = all_names(model)
    for at in reversed(built):  # wrap inner modules before outer modules, so that the names stay valid
        _put_in(model, name, at, names)
    if prompt is not None:
        _add_prompt(model, name, prompt)
    for parameter_name, (slots, original, trained) in copies.items():
        adapter.trained[parameter_name], state.slots[parameter_name] = trained, slots
        if reversible:
            state.weights_before_training[parameter_name] = original
    state.adapters[name] = adapter
    model.__dict__["_apply"] = ApplyToAll(model)
    use_fast_modules(model)
    refuse_saving(model)
    activate(model, name)
    check_first_forward(model)


def activate(model: nn.Module, name: str | None) -> None:
    """Activate the adapter with this name. None deactivates all adapters, so that the model is the bare backbone.

    Only the parameters of the active adapter are trainable.

    Raises:
        KronaError: the name is unknown, another adapter is merged, the bare backbone's weights were not kept, or a
            weight was replaced or resized (`krona.surgery.parameter_swapping`). The model is then unchanged.
    """
    state = get_state(model)
    if name is not None:
        get_adapter(model, name)
    else:
        _require_weights_before_training(state)
    if name != state.merged:
        require_unmerged(state)
    swap(model, state, name)
    before, state.active = state.active, name
    for _, holder in branch_modules(model):
        holder.active = name
        for adapter_name in (before, name):  # all other parameters are frozen already
            for _, parameter in holder.own_parameters(adapter_name) if adapter_name is not None else ():
                parameter.requires_grad_(adapter_name == name)
    for original in state.weights_before_training.values():
        original.requires_grad_(False)
    for parameter in state.adapters[name].trained.values() if name is not None else ():
        parameter.requires_grad_(True)


def take_out(model: nn.Module, name: str | None = None) -> None:
    """Remove the adapter with this name. None removes all adapters.

    After the last adapter is removed, the backbone is bit-identical to the original, except for modules and weights
    that the user replaced after the insertion (`krona.surgery.parameter_swapping`).

    Raises:
        KronaError: an adapter was inserted with ``reversible=False`` and trains weights of the backbone, or a weight
            was resized. The model is then unchanged.
    """
    state = get_state(model)
    removed = [name] if name is not None else list(state.adapters)
    for adapter_name in removed:
        get_adapter(model, adapter_name)
    _require_weights_before_training(state)
    others = [other for other in state.adapters if other not in removed]
    after = next(
        (adapter_name for adapter_name in (state.active, state.merged) if adapter_name in others),
        next(iter(others), None),
    )
    swap(model, state, after, dry=True)
    if state.merged in removed:
        unmerge(model)
    if state.merged is None:
        activate(model, None)
    remove_branches(model, removed)
    for adapter_name in removed:
        del state.adapters[adapter_name]
    if after is None:
        restore(model)
    else:
        activate(model, after)
        refuse_saving(model)


def _put_in(model: nn.Module, name: str, built: BuiltBranches, names: Mapping[nn.Module, Sequence[str]]) -> None:
    module = model.get_submodule(built.module_name)
    adapted = module if isinstance(module, Adapted) else Adapted(module)
    if adapted is not module:
        replace(model, names[module], adapted)
    adapted.branches[name] = built.branches.train(adapted.training)
    adapted.placements[name] = built.placement
    if built.first is not None:
        adapted.captures[name] = InputCapture(built.first, adapted, name)
    if built.magnitude is not None:
        adapted.magnitudes[name] = built.magnitude


def _add_prompt(model: Any, name: str, prompt: Any) -> None:
    if not hasattr(model, "prompts"):
        model.prompts = Prompts()
    model.prompts.branches[name] = prompt.train(model.training)
    model.prompts.hooks[name] = prompt.connect(model, name)


def _check_name(name: str, state: AdapterState) -> None:
    if name in state.adapters:
        raise KronaError(f"An adapter {name!r} is in this model already. Remove it first, or use another name.")
    if not name or "." in name or name in WRAPPER_PARTS or name.isdigit() or hasattr(nn.ModuleDict(), name):
        raise KronaError(
            f"{name!r} is not a valid adapter name. Dots, numbers, {', '.join(WRAPPER_PARTS)} and the attributes "
            "of nn.ModuleDict are not allowed."
        )
    require_unmerged(state)


def _check_module_names(model: nn.Module) -> None:
    names = [name for name, _ in model.named_parameters()]
    public = Counter(map(public_name, names))
    taken = [name for name in names if {*WRAPPER_PARTS[1:]} & {*name.split(".")} or public[public_name(name)] > 1]
    if taken:
        raise KronaError(
            f"Invalid parameter name {taken[0]}: krona uses {', '.join(WRAPPER_PARTS)} as names of its own modules. "
            "Rename the module of the model."
        )


def _require_weights_before_training(state: AdapterState) -> None:
    """Raise an error if the original weights of the backbone were not kept."""
    for name, adapter in state.adapters.items():
        if adapter.trained and not adapter.reversible:
            raise KronaError(
                f"Adapter {name!r} was inserted with reversible=False, so the backbone's original weights were not "
                "kept. Load the backbone again. With reversible=True, adapters can be combined, switched and removed."
            )
