"""Measures of what an adapter learned: the size and the spectrum of its updates, and how far they move activations."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from krona.adapters.update import spectrum
from krona.messages import KronaError
from krona.surgery.activation_capture import watched
from krona.surgery.wrapper import Adapted, adapted_modules, public_name, state_of

MEASURES = ("norm", "effective_rank", "stable_rank", "drift")


def measure_updates(model: nn.Module, passes: Callable[[], None]) -> dict[str, Any] | None:
    """Measure the update of the active adapter at each of its places; None for an adapter without places.

    ``norm``, ``effective_rank`` and ``stable_rank``: those of `Spectrum`; None where the update is not a matrix.
    ``drift``: Σ‖ΔW h‖² / Σ‖W h‖² over the tokens of ``passes``, which calls the model: how far the branches move the
    output that they act on (the input, where they stand before the module).

    Returns:
        ``by_place``: name → these four; of all ``places`` the norm of the whole update and the means of the others.
    """
    places, active = _places(model), str(state_of(model).active)
    by_place = {name: _of_spectrum(adapted, active) for name, adapted in places.items()}
    if not by_place:
        return None
    for name, drift in _drifts(model, passes).items():
        by_place[name]["drift"] = drift
    norms = [one["norm"] for one in by_place.values() if one["norm"] is not None]
    means = {key: _rounded(mean(one[key] for one in by_place.values())) for key in MEASURES[1:]}
    norm = _rounded(math.sqrt(sum(norm**2 for norm in norms))) if norms else None
    return {"places": len(by_place), "norm": norm, **means, "by_place": by_place}


@torch.no_grad()
def _drifts(model: nn.Module, passes: Callable[[], None]) -> dict[str, float | None]:
    """By place: Σ‖moved − plain‖² / Σ‖plain‖² over the tokens that pass it; None where nothing passes."""
    sums: dict[str, list[Tensor]] = {}

    def watch(name: str, plain: Tensor, moved: Tensor) -> None:
        plain = plain.float()
        squares = torch.stack([(moved.float() - plain).square().sum(), plain.square().sum()])
        sums.setdefault(name, []).append(squares)

    with watched(model, watch):
        passes()
    totals = {name: torch.stack(parts).cpu().double().sum(0).tolist() for name, parts in sums.items()}
    return {
        name: _rounded(totals[name][0] / totals[name][1]) if totals.get(name, (0, 0))[1] else None
        for name in _places(model)
    }


def _places(model: nn.Module) -> dict[str, Adapted]:
    active = str(state_of(model).active)
    return {public_name(path): adapted for path, adapted in adapted_modules(model) if active in adapted.branches}


def _of_spectrum(adapted: Adapted, name: str) -> dict[str, float | None]:
    found: dict[str, float | None] = dict.fromkeys(MEASURES)
    try:
        measured = spectrum(adapted, name)
    except KronaError:  # not a matrix: a non-linearity, a bias
        return found
    return found | {key: _rounded(getattr(measured, key)) for key in MEASURES[:-1]}


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _rounded(value: float | None) -> float | None:
    """Four digits; None for a value that is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
