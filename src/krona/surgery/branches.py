"""Build and check the branches of an adapter before the model is changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.methods.magnitude import Magnitude
from krona.methods.placement import InsertOptions, Position
from krona.surgery.layers import is_linear, is_quantised, weight_matrix
from krona.surgery.target_modules import end_layers, match_modules, widths
from krona.surgery.wrapper import BranchPlacement, public_name, unwrap

WHOLE_LAYER = ("placement", "inner_residual", "modules_per_target", "dropout", "magnitude")  # see `build_all`


@dataclass(frozen=True)
class BuiltBranches:
    """The branches for one module of the backbone."""

    module_name: str
    branches: nn.ModuleList
    placement: BranchPlacement
    magnitude: Magnitude | None
    first: nn.Module | None  # the first module, if the branches act on a span of modules


def build_branches(
    model: nn.Module, branch: type[Branch], branch_config: dict[str, Any], options: InsertOptions
) -> list[BuiltBranches]:
    """Return the branches for all target modules, in the order of the model.

    Each branch is built for the widths of its module: d_in → d_out for *parallel*, and d_out → d_out for *sequential*.
    The branch gets the device and the dtype of the module's weights. The attribute ``shared`` of the branch class lists
    the parameters that all branches share.
    """
    positions = _check_positions(options)
    built, matches = [], match_modules(model, options.target_modules)
    whole_layers = _build_whole_layers(model, branch, branch_config, options, list(matches))
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
        device, dtype = _device_and_dtype(
            name, end_layers(base)[1] if position == "sequential" else end_layers(first or base)[0]
        )
        modules = nn.ModuleList(branches).to(device=device, dtype=dtype)
        magnitude = None
        if options.magnitude:
            _require_parallel(name, base, position, "magnitude=true")
            for instance in branches:
                branch_matrix(instance)  # raises an error if the update is not linear
            magnitude = Magnitude(weight_matrix(base), branches)
        built.append(BuiltBranches(name, modules, placement, magnitude, first))
    every = [instance for at in built for instance in at.branches]
    for parameter in branch.shared if every else ():
        for other in every[1:]:
            setattr(other, parameter, every[0].get_parameter(parameter))
    return built


def build_prompt(
    model: nn.Module, branch: type[Branch], branch_config: dict[str, Any], options: InsertOptions
) -> Any | None:
    """Return the prompt of a class that adds positions to the input, and None for other classes."""
    if not branch.adds_positions:
        return None
    _refuse_options(options, ("target_modules", *WHOLE_LAYER), "adds positions to the input")
    return branch.build_prompt(model, **branch_config)


def _build_whole_layers(
    model: nn.Module,
    branch: type[Branch],
    branch_config: dict[str, Any],
    options: InsertOptions,
    module_names: list[str],
) -> Mapping[str, Branch]:
    """Return the branches of a class that builds the branches of all modules together, and computes whole layers."""
    if not branch.computes_layer:
        return {}
    _refuse_options(options, WHOLE_LAYER, "computes whole layers")
    return branch.build_all(model, module_names, **branch_config)


def _refuse_options(options: InsertOptions, keys: Sequence[str], reason: str) -> None:
    """Raise `KronaError` if one of these options is not the default."""
    if changed := [key for key in keys if getattr(options, key) != getattr(InsertOptions(), key)]:
        raise KronaError(f"method.{changed[0]} is not possible, because this method {reason}.")


def has_existing(branch: type[Branch], base: nn.Module) -> bool:
    """Return whether the module already has the parameter that the branch would add, such as a bias."""
    return branch.existing_parameter is not None and getattr(base, branch.existing_parameter, None) is not None


def existing_names(model: nn.Module, branch: type[Branch] | None, target_modules: Sequence[str]) -> list[str]:
    """Return the public names of backbone parameters that are trained in place of a branch, such as biases."""
    if branch is None or branch.existing_parameter is None:
        return []
    modules = {name: unwrap(model.get_submodule(name)) for name in match_modules(model, target_modules)}
    names = [name for name, base in modules.items() if has_existing(branch, base)]
    return [f"{public_name(name)}.{branch.existing_parameter}" for name in names]


def branch_matrix(branch: Branch) -> Tensor:
    """Return the matrix of a branch, (d_out, d_in).

    Raises:
        KronaError: the branch cannot be written as a matrix.
    """
    try:
        return branch.delta()
    except KronaError as error:
        raise KronaError(f"The {type(branch).__name__} branch cannot be written as a matrix. {error}") from error


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


def _device_and_dtype(name: str, layer: nn.Module) -> tuple[torch.device, torch.dtype]:
    if is_quantised(layer):
        quantised: Any = layer.get_parameter("weight")
        return quantised.device, quantised.quant_state.dtype
    weight = next((weight for weight in layer.parameters() if weight.is_floating_point()), None)
    if weight is None:
        kinds = ", ".join(sorted({str(weight.dtype) for weight in layer.parameters()})) or "none"
        raise KronaError(
            f"{public_name(name)} has no floating-point weights (found: {kinds}), so it cannot have a branch."
        )
    return weight.device, weight.dtype
