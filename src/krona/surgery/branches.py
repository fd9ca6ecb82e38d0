"""The branches of one adapter, built and checked before any is put into the model: torch only."""

import difflib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from torch import nn

from krona.messages import KronaError
from krona.methods.arguments import choice, whole
from krona.methods.magnitude import Magnitude
from krona.surgery.targets import match_places, widths
from krona.surgery.wrapper import Place, Placement, base_of


@dataclass(frozen=True)
class Built:
    """What will stand at one place."""

    place: str
    branches: nn.ModuleList
    how: Place
    magnitude: Magnitude | None


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
    """The branches for every place, in the model's order, on its device and in its dtype.

    A branch is built for the widths that it sees: parallel d_in → d_out, sequential d_out → d_out, before d_in → d_in.
    Parameters that the branch's class names as ``shared`` are one object at all places.
    """
    _check_signature(branch, branch_config)
    whole("modules_per_target", modules_per_target, low=1)
    if not target_modules:
        raise KronaError("target_modules is empty: say which modules the branches go to, such as ['q', 'v']")
    hows = _hows(target_modules, placement, inner_residual)
    built = []
    for place, number in match_places(model, target_modules).items():
        base, how = base_of(model.get_submodule(place)), hows[number]
        d_in, d_out = widths(base)
        d_in, d_out = {"parallel": (d_in, d_out), "sequential": (d_out, d_out), "before": (d_in, d_in)}[how.placement]
        branches = nn.ModuleList(branch(d_in, d_out, **branch_config) for _ in range(modules_per_target))
        weight = next(base.parameters())
        branches.to(device=weight.device, dtype=weight.dtype)
        built.append(Built(place, branches, how, _magnitude(place, base, branches, how) if magnitude else None))
    _share([branch for at in built for branch in at.branches])
    return built


def _hows(
    target_modules: Sequence[str], placement: Placement | Sequence[Placement], inner_residual: bool
) -> list[Place]:
    """One Place for each of target_modules."""
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
    if not isinstance(base, nn.Linear) or how.placement != "parallel":
        raise KronaError(f"magnitude rescales a linear layer's weight with a parallel branch; {place} has none")
    return Magnitude(base.weight.detach(), sum_of_deltas(place, branches))


def sum_of_deltas(place: str, branches: nn.ModuleList) -> Any:
    """(d_out, d_in): Σ delta() of the branches at a place, detached; an error that says why where one has none."""
    total: Any = 0
    for branch in branches:
        total = total + delta_of(place, branch).detach()
    return total


def delta_of(place: str, branch: nn.Module) -> Any:
    """delta() of a branch; an error that says why where it has none."""
    delta: Any = getattr(branch, "delta", None)
    kind = type(branch).__name__
    if delta is None:
        raise KronaError(
            f"the {kind} branch at {place} is not linear in its input or adds a constant: no matrix stands for it. "
            "Keep it beside the layer"
        )
    try:
        return delta()
    except KronaError as error:
        raise KronaError(f"the {kind} branch at {place} has no delta(): {error}") from error


def _share(branches: Sequence[nn.Module]) -> None:
    """Make the parameters that the class calls ``shared`` one object."""
    for name in getattr(branches[0], "shared", ()):
        for other in branches[1:]:
            setattr(other, name, branches[0].get_parameter(name))


def _check_signature(branch: Callable[..., nn.Module], branch_config: dict[str, Any]) -> None:
    parameters = inspect.signature(branch).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    known = [name for name, p in parameters.items() if name not in ("d_in", "d_out")]
    label = getattr(branch, "__name__", str(branch))
    for key in branch_config:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'no settings'}"
            raise KronaError(f"method.{key}: {label} has no such setting; {hint}")
    missing = [n for n in known if parameters[n].default is inspect.Parameter.empty and n not in branch_config]
    if missing:
        raise KronaError(f"method.{missing[0]} is missing: {label} needs it")
