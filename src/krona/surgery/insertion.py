"""Insert an adapter into a model, and remove it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NoReturn, cast

from torch import nn

from krona.kernels.t5_modules import use_fast_modules
from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.methods.magnitude import Magnitude
from krona.methods.placement import InsertOptions, Position
from krona.surgery.layers import (
    Adapted,
    BranchPlacement,
    InputCapture,
    Prompt,
    all_names,
    is_linear,
    public_name,
    replace,
    unwrap,
    weight_matrix,
)
from krona.surgery.merging import branch_matrix, unmerge
from krona.surgery.preparation import require_preparation
from krona.surgery.state import (
    SAVERS,
    InsertedAdapter,
    Slot,
    backbone_parameters,
    get_adapter,
    has_existing,
    put_back,
    remove_branches,
    trained_names,
)
from krona.surgery.target_modules import end_layers, match_modules, widths

# the options that are not possible for branches that compute whole layers or add positions
PLACEMENT = ("placement", "inner_residual", "modules_per_target", "dropout", "magnitude")


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
    prompt, built = None, list[tuple[str, Adapted, nn.Module | None]]()
    if branch is not None and branch.adds_positions:
        _refuse_options(options, ("target_modules", *PLACEMENT), "adds positions to the input")
        prompt = branch.build_prompt(model, **branch_config)
        branch_config = {"config": prompt.config}  # without the arguments of the initial values
    elif branch is not None:
        built = _build_branches(model, branch, branch_config, options)
    branches = [instance for _, adapted, _ in built for instance in adapted.own_branches()]
    owners: dict[int, list[Slot]] = defaultdict(list)
    for module in model.modules():
        for attribute, parameter in module._parameters.items():
            owners[id(parameter)].append((module, attribute))
    parameters = dict(backbone_parameters(model, tied=True))
    # a tied weight has several slots
    slots = {name: owners[id(parameters[name])] for name in trained_names(model, branch, options.as_dict())}
    first_slots = {name: places[0] for name, places in slots.items()}
    kept = {name: owner.get_parameter(key) for name, (owner, key) in first_slots.items()} if reversible else {}
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
    for owner, attribute in first_slots.values():
        owner.get_parameter(attribute).requires_grad_(True)
    names = all_names(model)
    for module_name, adapted, first in reversed(built):  # wrap inner modules first, so that the names stay valid
        adapted.capture = None if first is None else InputCapture(first)
        replace(model, names[model.get_submodule(module_name)], adapted)
    if prompt is not None:
        cast(Any, model).prompts = Prompt(prompt.train(model.training), prompt.length, prompt.connect(model))
    use_fast_modules(model)
    if built or prompt is not None:
        model.__dict__.update({name: _refuse_to_save for name in SAVERS if hasattr(model, name)})
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


def _build_branches(
    model: nn.Module, branch: type[Branch], branch_config: Mapping[str, Any], options: InsertOptions
) -> list[tuple[str, Adapted, nn.Module | None]]:
    """Return the names and the wrappers of all target modules, in the order of the model.

    If the branches act on a span of modules, the third entry is the first module of the span. Each branch is built for
    the widths of its module (d_in → d_out for *parallel*, d_out → d_out for *sequential*), and gets the device and
    dtype of the weights. ``branch.shared`` lists the parameters that all branches share.
    """
    positions = _check_positions(options)
    matches = match_modules(model, options.target_modules)
    whole_layers: Mapping[str, Branch] = {}
    if branch.computes_layer:
        _refuse_options(options, PLACEMENT, "computes whole layers")
        whole_layers = branch.build_all(model, list(matches), **branch_config)
    built: list[tuple[str, Adapted, nn.Module | None]] = []
    for name, match in matches.items():
        base, position = unwrap(model.get_submodule(name)), positions[match.pattern]
        if has_existing(branch, base):
            continue
        first = None if match.first is None else unwrap(model.get_submodule(match.first))
        placement = BranchPlacement(position, options.inner_residual, options.dropout)
        sizes = placement.widths(*widths(base, first))
        branches = [
            whole_layers[name] if whole_layers else branch(*sizes, **branch_config)
            for _ in range(options.modules_per_target)
        ]
        if any(instance.needs is not None for instance in branches):
            _require_parallel(name, base, position, f"method.init={branch_config.get('init')}")
        layer = end_layers(base)[1] if position == "sequential" else end_layers(first or base)[0]
        weight = next(w for w in layer.parameters() if w.is_floating_point() or hasattr(w, "quant_state"))
        state = getattr(weight, "quant_state", None)
        dtype = weight.dtype if state is None else state.dtype
        modules = nn.ModuleList(branches).to(device=weight.device, dtype=dtype)
        magnitude = None
        if options.magnitude:
            _require_parallel(name, base, position, "magnitude=true")
            for instance in branches:
                branch_matrix(instance)  # raises an error if the update is not linear
            magnitude = Magnitude(weight_matrix(base), branches)
        built.append((name, Adapted(base, modules, placement, dora=magnitude), first))
    every = [instance for _, adapted, _ in built for instance in adapted.own_branches()]
    for parameter in branch.shared if every else ():
        for other in every[1:]:
            setattr(other, parameter, every[0].get_parameter(parameter))
    return built


def _refuse_options(options: InsertOptions, keys: Sequence[str], reason: str) -> None:
    """Raise `KronaError` if one of these options is not the default."""
    if changed := [key for key in keys if getattr(options, key) != getattr(InsertOptions(), key)]:
        raise KronaError(f"method.{changed[0]} is not possible, because this method {reason}.")


def _check_positions(options: InsertOptions) -> list[Position]:
    patterns, placement = options.target_modules, options.placement
    positions: list[Position] = [placement] * len(patterns) if isinstance(placement, str) else placement
    if not patterns:
        raise KronaError("target_modules is empty. Name the modules that get branches, such as ['q', 'v'].")
    if len(positions) != len(patterns):
        raise KronaError(
            f"method.placement has {len(positions)} entries, but target_modules has {len(patterns)}. Give one "
            "placement for all target modules, or one placement for each."
        )
    if not options.inner_residual and "parallel" in positions:
        raise KronaError(
            "inner_residual=false is only for placement=sequential. A parallel branch has no inner residual."
        )
    return positions


def _require_parallel(name: str, base: nn.Module, position: Position, label: str) -> None:
    if not is_linear(base) or position != "parallel":
        raise KronaError(
            f"{label} needs a linear layer and placement=parallel, but {public_name(name)} is a "
            f"{type(base).__name__} with placement={position}. Use other target_modules or another placement."
        )


def _refuse_to_save(*args: object, **kwargs: object) -> NoReturn:
    """Stand for ``save_pretrained`` and ``push_to_hub`` while the model contains branches.

    The tensors then have names that other programs do not know, such as ``q.base.weight``.
    """
    raise KronaError(
        "A model with branches cannot be saved, because transformers could not load its checkpoint. Merge the branches "
        "with surgery.bake(model), remove them with surgery.take_out(model), or save only the adapter with "
        "krona.Adapter.of(model).save(FILE)."
    )
