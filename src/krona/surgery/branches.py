"""Construction and checks of one adapter's branches, before any is put into the model."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.arguments import choice, whole
from krona.methods.magnitude import Magnitude
from krona.surgery.layers import is_linear, matrix_of, reads_past_forward
from krona.surgery.targets import ends_of, match_places, widths_of_part
from krona.surgery.wrapper import Place, Placement, base_of, public_name


@dataclass(frozen=True)
class Built:
    place: str
    branches: nn.ModuleList
    how: Place
    magnitude: Magnitude | None
    entry: nn.Module | None  # where the part of the model begins that ends here


def build(
    model: nn.Module,
    branch: Callable[..., nn.Module],
    branch_config: dict[str, Any],
    *,
    target_modules: Sequence[str],
    placement: Placement | Sequence[Placement],
    inner_residual: bool,
    modules_per_target: int,
    magnitude: bool,
) -> list[Built]:
    """The branches for every place, in the model's order, on the device and in the dtype of the layer that they follow.

    A branch is built for the widths that it sees: parallel d_in → d_out, sequential d_out → d_out, before d_in → d_in.
    Parameters that the branch's class names as ``shared`` are one object at all places.
    """
    _check_arguments(branch, branch_config)
    whole("modules_per_target", modules_per_target, low=1)
    if not target_modules:
        raise KronaError("target_modules is empty: name the modules that the branches go to, such as ['q', 'v']")
    hows = _hows(target_modules, placement, inner_residual)
    built = []
    for place, match in match_places(model, target_modules).items():
        base, how = base_of(model.get_submodule(place)), hows[match.number]
        if has_existing(branch, base):
            continue
        parent = base_of(model.get_submodule(place.rpartition(".")[0]))
        if reads_past_forward(parent):
            raise KronaError(
                f"{public_name(place)}: a {type(parent).__name__} reads this layer's weight without calling the layer, "
                "and a branch there would be bypassed in silence. Name other target_modules"
            )
        entry = None if match.entry is None else base_of(model.get_submodule(match.entry))
        if entry is not None and how.placement == "before":
            raise KronaError(
                f"placement=before needs a module of its own at {public_name(place)}: this backbone's block is several "
                "modules, and more than one of them reads its input. Take parallel or sequential"
            )
        d_in, d_out = widths_of_part(base, entry)
        d_in, d_out = {"parallel": (d_in, d_out), "sequential": (d_out, d_out), "before": (d_in, d_in)}[how.placement]
        modules = nn.ModuleList(branch(d_in, d_out, **branch_config) for _ in range(modules_per_target))
        weight = _weight_at(place, ends_of(base)[1] if how.placement == "sequential" else ends_of(entry or base)[0])
        modules.to(device=weight.device, dtype=weight.dtype)
        found = _magnitude(place, base, modules, how) if magnitude else None
        built.append(Built(place, modules, how, found, entry))
    branches = [branch for at in built for branch in at.branches]
    for name in getattr(branches[0], "shared", ()) if branches else ():
        for other in branches[1:]:
            setattr(other, name, branches[0].get_parameter(name))
    return built


def _weight_at(place: str, layer: nn.Module) -> Tensor:
    """The weight that says in which dtype and on which device a branch at this layer works."""
    weight = next((weight for weight in layer.parameters() if weight.is_floating_point()), None)
    if weight is None:
        kinds = ", ".join(sorted({str(weight.dtype) for weight in layer.parameters()})) or "none"
        raise KronaError(f"{public_name(place)}: no floating-point weights here (found: {kinds}), so no branch fits")
    return weight


def has_existing(branch: Callable[..., nn.Module], base: nn.Module) -> bool:
    """Whether the module has the parameter that the branch would add: that one trains then (``branch.existing``)."""
    name = getattr(branch, "existing", None)
    return name is not None and getattr(base, name, None) is not None


def existing_names(
    model: nn.Module, branch: Callable[..., nn.Module] | None, target_modules: Sequence[str]
) -> list[str]:
    """Public names of the backbone's own parameters that train in the place of a branch."""
    if branch is None or getattr(branch, "existing", None) is None:
        return []
    bases = {place: base_of(model.get_submodule(place)) for place in match_places(model, target_modules)}
    found = [place for place, base in bases.items() if has_existing(branch, base)]
    return [f"{public_name(place)}.{branch.existing}" for place in found]  # type: ignore[attr-defined]


def _hows(
    target_modules: Sequence[str], placement: Placement | Sequence[Placement], inner_residual: bool
) -> list[Place]:
    placements = [placement] * len(target_modules) if isinstance(placement, str) else list(placement)
    for one in placements:
        choice("placement", one, get_args(Placement))
    if len(placements) != len(target_modules):
        raise KronaError(
            f"method.placement has {len(placements)} entries and target_modules {len(target_modules)}: "
            "give one placement for all, or one for each"
        )
    if not inner_residual and "parallel" in placements:
        raise KronaError("inner_residual=false is for sequential and before; a parallel branch has no inner residual")
    return [Place(one, inner_residual) for one in placements]


def _magnitude(place: str, base: nn.Module, branches: nn.ModuleList, how: Place) -> Magnitude:
    if not is_linear(base) or how.placement != "parallel":
        raise KronaError(f"magnitude rescales a linear layer's weight with a parallel branch; {place} has none")
    deltas = [delta_of(place, branch).detach() for branch in branches]
    return Magnitude(matrix_of(base).detach(), sum(deltas[1:], deltas[0]))


def delta_of(place: str, branch: nn.Module) -> Any:
    """delta() of a branch, or an error with the reason why it has none."""
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
    """A config is checked before (`krona.config.check`); this is for callers of `surgery.insert`."""
    signature = inspect.signature(branch)
    try:
        signature.bind(0, 0, **branch_config)
    except TypeError as error:
        known = ", ".join(name for name in signature.parameters if name not in ("d_in", "d_out"))
        label = getattr(branch, "__name__", branch)
        raise KronaError(f"method: {label}: {error}; its arguments: {known or 'none'}") from error
