"""Build and check the branches of an adapter before the model is changed."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.magnitude import Magnitude
from krona.methods.placement import InsertOptions, Position, list_placements
from krona.surgery.branch_checks import skipped_branch
from krona.surgery.layers import is_conv1d, is_linear, weight_matrix
from krona.surgery.targets import end_layers, match_places, widths_of_part
from krona.surgery.wrapper import BranchPlacement, public_name, unwrap


@dataclass(frozen=True)
class BuiltBranches:
    """The branches for one module of the backbone."""

    place: str
    branches: nn.ModuleList
    placement: BranchPlacement
    magnitude: Magnitude | None
    entry: nn.Module | None  # the first module, if the branches act on a part of the model with several modules


def build(
    model: nn.Module, branch: Callable[..., nn.Module], branch_config: dict[str, Any], options: InsertOptions
) -> list[BuiltBranches]:
    """Return the branches for all target modules, in the order of the model.

    Each branch is built for the widths of its module: d_in → d_out for *parallel*, d_out → d_out for *sequential*, and
    d_in → d_in for *before*. It gets the device and the dtype of the module's weights. All branches share the
    parameters that the attribute ``shared`` of their class lists.
    """
    _check_arguments(branch, branch_config)
    placements = _check_placements(options)
    built = []
    for place, match in match_places(model, options.target_modules).items():
        base, placement = unwrap(model.get_submodule(place)), placements[match.number]
        if has_existing(branch, base):
            continue
        entry = None if match.entry is None else unwrap(model.get_submodule(match.entry))
        _check_place(model, place, base, entry, placement)
        at = BranchPlacement(placement, options.inner_residual)
        sizes = at.widths(*widths_of_part(base, entry))
        modules = nn.ModuleList(branch(*sizes, **branch_config) for _ in range(options.modules_per_target))
        _bind(place, modules, base, placement)
        weight = _weight_at(place, end_layers(base)[1] if placement == "sequential" else end_layers(entry or base)[0])
        modules.to(device=weight.device, dtype=weight.dtype)
        magnitude = _magnitude(place, base, modules, placement) if options.magnitude else None
        built.append(BuiltBranches(place, modules, at, magnitude, entry))
    branches = [branch for at in built for branch in at.branches]
    for name in getattr(branches[0], "shared", ()) if branches else ():
        for other in branches[1:]:
            setattr(other, name, branches[0].get_parameter(name))
    return built


def has_existing(branch: Callable[..., nn.Module], base: nn.Module) -> bool:
    """Return whether the module already has the parameter that the branch would add, such as a bias (``existing``)."""
    name = getattr(branch, "existing", None)
    return name is not None and getattr(base, name, None) is not None


def existing_names(
    model: nn.Module, branch: Callable[..., nn.Module] | None, target_modules: Sequence[str]
) -> list[str]:
    """Return the public names of the backbone's own parameters that train instead of a branch, such as biases."""
    if branch is None or getattr(branch, "existing", None) is None:
        return []
    bases = {place: unwrap(model.get_submodule(place)) for place in match_places(model, target_modules)}
    found = [place for place, base in bases.items() if has_existing(branch, base)]
    return [f"{public_name(place)}.{branch.existing}" for place in found]  # type: ignore[attr-defined]


def branch_delta(branch: nn.Module) -> Tensor:
    """Return the matrix of a branch, (d_out, d_in). Raises KronaError if the branch is not equal to a matrix."""
    delta: Any = getattr(branch, "delta", None)
    kind = type(branch).__name__
    if delta is None:
        raise KronaError(
            f"The {kind} branch cannot be written as a matrix, because its update is not linear in the input or has a "
            "constant part. Use the adapter unmerged."
        )
    try:
        found: Tensor = delta()
    except KronaError as error:
        raise KronaError(f"The {kind} branch has no matrix: {error}") from error
    return found


def _check_arguments(branch: Callable[..., nn.Module], branch_config: dict[str, Any]) -> None:
    signature = inspect.signature(branch)
    try:
        signature.bind(0, 0, **branch_config)
    except TypeError as error:
        known = ", ".join(name for name in signature.parameters if name not in ("d_in", "d_out"))
        label = getattr(branch, "__name__", branch)
        raise KronaError(
            f"method has invalid arguments for {label}: {error}. Its arguments are {known or 'none'}."
        ) from error


def _check_placements(options: InsertOptions) -> list[Position]:
    patterns, placements = options.target_modules, list_placements(vars(options))
    if not patterns:
        raise KronaError("target_modules is empty. Name the modules that get branches, such as ['q', 'v'].")
    if len(placements) != len(patterns):
        raise KronaError(
            f"method.placement has {len(placements)} entries, but target_modules has {len(patterns)}. Give one "
            "placement for all target modules, or one placement for each."
        )
    if not options.inner_residual and "parallel" in placements:
        raise KronaError(
            "inner_residual=false is only for the placements sequential and before. A parallel branch has no inner "
            "residual."
        )
    return placements


def _check_place(model: nn.Module, place: str, base: nn.Module, entry: nn.Module | None, placement: Position) -> None:
    parent = unwrap(model.get_submodule(place.rpartition(".")[0]))
    # TransformerEncoderLayer reads the weights only in eval mode, so the check in the first forward pass could miss it
    if isinstance(parent, nn.MultiheadAttention | nn.TransformerEncoderLayer):
        raise KronaError(skipped_branch(place, parent))
    if is_linear(base) and "weight" not in base._parameters:
        raise KronaError(
            f"The weight of {public_name(place)} is parametrised (as by weight_norm or spectral_norm), so no branch "
            "can be merged into it. Remove the parametrisation first (torch.nn.utils.remove_weight_norm or "
            "torch.nn.utils.parametrize.remove_parametrizations), or use other target_modules."
        )
    if entry is not None and placement == "before":
        raise KronaError(
            f"placement=before is not possible at {public_name(place)}, because several modules of this block read its "
            "input. Use placement=parallel or placement=sequential."
        )


def _weight_at(place: str, layer: nn.Module) -> Tensor:
    """Return a floating-point weight of the layer. The branches get its dtype and device."""
    weight = next((weight for weight in layer.parameters() if weight.is_floating_point()), None)
    if weight is None:
        kinds = ", ".join(sorted({str(weight.dtype) for weight in layer.parameters()})) or "none"
        raise KronaError(
            f"{public_name(place)} has no floating-point weights (found: {kinds}), so it cannot have a branch."
        )
    return weight


def _bind(place: str, branches: nn.ModuleList, base: nn.Module, placement: Position) -> None:
    """Pass the layer to branches that need its weight and therefore have a method ``bind``, such as HiRA."""
    branch: Any
    for branch in branches:
        if hasattr(branch, "bind"):
            if not is_linear(base) or placement != "parallel":
                raise KronaError(
                    f"{type(branch).__name__} needs a linear layer and placement=parallel, but {public_name(place)} is "
                    f"a {type(base).__name__} with placement={placement}. Use other target_modules or another "
                    "placement."
                )
            branch.bind(base, transposed=is_conv1d(base))


def _magnitude(place: str, base: nn.Module, branches: nn.ModuleList, placement: Position) -> Magnitude:
    if not is_linear(base) or placement != "parallel":
        raise KronaError(
            f"magnitude=true needs a linear layer with a parallel branch, but {place} is not such a layer."
        )
    deltas = [branch_delta(branch).detach() for branch in branches]
    return Magnitude(weight_matrix(base).detach(), sum(deltas[1:], deltas[0]))
