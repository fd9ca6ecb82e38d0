"""Insert an adapter into a model, and remove it."""

from collections import defaultdict
from dataclasses import fields
from typing import Any, cast

from torch import nn

from krona.kernels.t5_modules import use_fast_modules
from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.methods.placement import InsertOptions
from krona.surgery.branches import build_branches, build_prompt
from krona.surgery.merging import unmerge
from krona.surgery.preparation import require_preparation
from krona.surgery.saving import refuse_saving, remove_branches, restore
from krona.surgery.state import InsertedAdapter, Slot, backbone_modules, backbone_parameters, get_adapter, put_back
from krona.surgery.trainable import trained_names
from krona.surgery.wrapper import Adapted, InputCapture, Prompt, all_names, replace


def insert(model: nn.Module, branch: type[Branch] | None = None, *, reversible: bool = True, **arguments: Any) -> None:
    """Freeze the backbone, insert an adapter, and make the adapter's parameters trainable.

    Args:
        branch: the class of the branches, a subclass of `krona.methods.branch.Branch`. It is called as
            ``branch(d_in, d_out, ...)`` for each target module. None means that the adapter has no branches.
        reversible: keep a copy of the backbone weights that are trained. Without the copy, the adapter cannot be
            removed. With the copy, full fine-tuning needs as much memory as two models.
        arguments: the fields of `InsertOptions` (``target_modules``, ``placement``, …) and the arguments of the
            branch class.

    Raises:
        KronaError: a pattern matches no module, a branch does not fit its module, or the model has an adapter already.
            The model is then unchanged.
    """
    if "krona" in model.__dict__:
        raise KronaError(
            "There is an adapter in this model already. Remove it with surgery.take_out(model), or make its update "
            "permanent with surgery.bake(model)."
        )
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
    slots = _find_slots(model, trained_names(model, branch, options.as_dict()))
    originals = {name: owner._parameters[attribute] for name, [(owner, attribute), *_] in slots.items()}
    kept = {name: weight for name, weight in originals.items() if weight is not None} if reversible else {}
    copies = {name: nn.Parameter(weight.detach().clone()) for name, weight in kept.items()}
    model.__dict__["krona"] = InsertedAdapter(
        branch=branch,
        branch_config=branch_config,
        options=options.as_dict(),
        reversible=reversible,
        prepared=all(instance.needs is None for instance in branches),
        notes=[note for instance in branches for note in instance.notes],
        training_hook=branches[0].training_hook if branches else None,
        trained=slots,
        originals=kept,
        required_grad={n: p.requires_grad for n, p in model.named_parameters()},
    )
    model.requires_grad_(False)
    for name, weight in copies.items():
        for module, attribute in slots[name]:
            module._parameters[attribute] = weight
    for [(owner, attribute), *_] in slots.values():
        owner.get_parameter(attribute).requires_grad_(True)
    names = all_names(model)
    for at in reversed(built):  # wrap inner modules before outer modules, so that the names stay valid
        base = model.get_submodule(at.module_name)
        capture = None if at.first is None else InputCapture(at.first)
        replace(model, names[base], Adapted(base, at.branches, at.placement, dora=at.magnitude, capture=capture))
    if prompt is not None:
        cast(Any, model).prompts = Prompt(prompt.train(model.training), prompt.connect(model))
    use_fast_modules(model)
    refuse_saving(model)
    require_preparation(model)


def take_out(model: nn.Module) -> None:
    """Remove the adapter. The backbone is then bit-identical to the original.

    Raises:
        KronaError: the adapter was inserted with ``reversible=False`` and trains weights of the backbone. The model is
            then unchanged.
    """
    adapter = get_adapter(model)
    if adapter.trained and not adapter.reversible:
        raise KronaError(
            "The adapter was inserted with reversible=False, so the backbone's original weights were not kept. Load "
            "the backbone again. With reversible=True, an adapter can be removed."
        )
    if adapter.merged:
        unmerge(model)
    for name, original in adapter.originals.items():
        for slot in adapter.trained[name]:
            put_back(slot, original)
    remove_branches(model)
    restore(model)


def _find_slots(model: nn.Module, names: list[str]) -> dict[str, list[Slot]]:
    """Return the slots of each weight by its name. A tied weight has several slots."""
    owners: dict[int, list[Slot]] = defaultdict(list)
    for _, module in backbone_modules(model):
        for attribute, parameter in module._parameters.items():
            owners[id(parameter)].append((module, attribute))
    parameters = dict(backbone_parameters(model, tied=True))
    return {name: owners[id(parameters[name])] for name in names}
