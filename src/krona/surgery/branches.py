"""Build and check the branches of one adapter before any of them is put into the model."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.arguments import check_choice, check_int
from krona.methods.magnitude import Magnitude
from krona.surgery.layers import is_linear, matrix_of, reads_past_forward
from krona.surgery.options import InsertOptions, Placement
from krona.surgery.targets import ends_of, match_places, widths_of_part
from krona.surgery.wrapper import BranchPlacement, base_of, public_name


@dataclass(frozen=True)
class BuiltBranches:
    """The branches for one place. ``entry``: the module at which the part of the model that ends here begins."""

    place: str
    branches: nn.ModuleList
    placement: BranchPlacement
    magnitude: Magnitude | None
    entry: nn.Module | None


def build(
    model: nn.Module, branch: Callable[..., nn.Module], branch_config: dict[str, Any], options: InsertOptions
) -> list[BuiltBranches]:
    """Return the branches for every place, in the model's order, on the device and in the dtype of the layer there.

    A branch is built for the widths that it sees: parallel d_in → d_out, sequential d_out → d_out, before d_in → d_in.
    Parameters that the branch's class names as ``shared`` are one object at all places.
    """
    _check_arguments(branch, branch_config)
    check_int("modules_per_target", options.modules_per_target, low=1)
    placements = _check_placements(options)
    built = []
    for place, match in match_places(model, options.target_modules).items():
        base, placement = base_of(model.get_submodule(place)), placements[match.number]
        if has_existing(branch, base):
            continue
        entry = None if match.entry is None else base_of(model.get_submodule(match.entry))
        _check_place(model, place, entry, placement)
        d_in, d_out = widths_of_part(base, entry)
        sizes = {"parallel": (d_in, d_out), "sequential": (d_out, d_out), "before": (d_in, d_in)}[placement]
        modules = nn.ModuleList(branch(*sizes, **branch_config) for _ in range(options.modules_per_target))
        weight = _weight_at(place, ends_of(base)[1] if placement == "sequential" else ends_of(entry or base)[0])
        modules.to(device=weight.device, dtype=weight.dtype)
        magnitude = _magnitude(place, base, modules, placement) if options.magnitude else None
        at = BranchPlacement(placement, options.inner_residual)
        built.append(BuiltBranches(place, modules, at, magnitude, entry))
    branches = [branch for at in built for branch in at.branches]
    for name in getattr(branches[0], "shared", ()) if branches else ():
        for other in branches[1:]:
            setattr(other, name, branches[0].get_parameter(name))
    return built


def has_existing(branch: Callable[..., nn.Module], base: nn.Module) -> bool:
    """Whether the module has the parameter that the branch would add (``branch.existing``): that one trains then."""
    name = getattr(branch, "existing", None)
    return name is not None and getattr(base, name, None) is not None


def existing_names(
    model: nn.Module, branch: Callable[..., nn.Module] | None, target_modules: Sequence[str]
) -> list[str]:
    """Return the public names of the backbone's own parameters that train in the place of a branch."""
    if branch is None or getattr(branch, "existing", None) is None:
        return []
    bases = {place: base_of(model.get_submodule(place)) for place in match_places(model, target_modules)}
    found = [place for place, base in bases.items() if has_existing(branch, base)]
    return [f"{public_name(place)}.{branch.existing}" for place in found]  # type: ignore[attr-defined]


def delta_of(place: str, branch: nn.Module) -> Any:
    """Return ``delta()`` of a branch. Raises KronaError with the reason if there is none."""
    delta: Any = getattr(branch, "delta", None)
    kind = type(branch).__name__
    if delta is None:
        raise KronaError(
            f"the {kind} branch at {place} is not linear in its input or adds a constant: no matrix is equal to it. "
            "Keep it beside the layer"
        )
    try:
        return delta()
    except KronaError as error:
        raise KronaError(f"the {kind} branch at {place} has no delta(): {error}") from error


def _check_arguments(branch: Callable[..., nn.Module], branch_config: dict[str, Any]) -> None:
    """Check a caller's arguments; `krona.config.check` has checked those of a config before."""
    signature = inspect.signature(branch)
    try:
        signature.bind(0, 0, **branch_config)
    except TypeError as error:
        known = ", ".join(name for name in signature.parameters if name not in ("d_in", "d_out"))
        label = getattr(branch, "__name__", branch)
        raise KronaError(f"method: {label}: {error}; its arguments: {known or 'none'}") from error


def _check_placements(options: InsertOptions) -> list[Placement]:
    """Return the placement for each pattern of ``target_modules``."""
    patterns, given = options.target_modules, options.placement
    if not patterns:
        raise KronaError("target_modules is empty: name the modules that the branches go to, such as ['q', 'v']")
    placements = [given] * len(patterns) if isinstance(given, str) else list(given)
    for placement in placements:
        check_choice("placement", placement, get_args(Placement))
    if len(placements) != len(patterns):
        raise KronaError(
            f"method.placement has {len(placements)} entries and target_modules {len(patterns)}: "
            "give one placement for all, or one for each"
        )
    if not options.inner_residual and "parallel" in placements:
        raise KronaError("inner_residual=false is for sequential and before; a parallel branch has no inner residual")
    return placements


def _check_place(model: nn.Module, place: str, entry: nn.Module | None, placement: Placement) -> None:
    parent = base_of(model.get_submodule(place.rpartition(".")[0]))
    if reads_past_forward(parent):
        raise KronaError(
            f"{public_name(place)}: a {type(parent).__name__} reads this layer's weight without calling the layer, "
            "so a branch there would never run. Name other target_modules"
        )
    if entry is not None and placement == "before":
        raise KronaError(
            f"placement=before needs a single module at {public_name(place)}: this backbone's block is several "
            "modules, and more than one of them reads its input. Use parallel or sequential"
        )


def _weight_at(place: str, layer: nn.Module) -> Tensor:
    """Return the weight whose dtype and device the branches at this layer get."""
    weight = next((weight for weight in layer.parameters() if weight.is_floating_point()), None)
    if weight is None:
        kinds = ", ".join(sorted({str(weight.dtype) for weight in layer.parameters()})) or "none"
        raise KronaError(f"{public_name(place)}: no floating-point weights here (found: {kinds}), so no branch fits")
    return weight


def _magnitude(place: str, base: nn.Module, branches: nn.ModuleList, placement: Placement) -> Magnitude:
    if not is_linear(base) or placement != "parallel":
        raise KronaError(f"magnitude rescales a linear layer's weight with a parallel branch; {place} has none")
    deltas = [delta_of(place, branch).detach() for branch in branches]
    return Magnitude(matrix_of(base).detach(), sum(deltas[1:], deltas[0]))
