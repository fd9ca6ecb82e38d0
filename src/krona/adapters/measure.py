"""Measure an adapter: the norms and ranks of its updates, and how much the branches change the activations."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from krona.adapters.update import spectrum
from krona.messages import KronaError
from krona.surgery.state import adapted_modules, get_state
from krona.surgery.wrapper import Adapted, public_name

MEASURES = ("norm", "effective_rank", "stable_rank", "drift")


def measure_updates(model: nn.Module, passes: Callable[[], None]) -> dict[str, Any] | None:
    """Measure the update of the active adapter at each module that it adapts, or return None if it has no branches.

    ``passes`` calls the model on the rows with which drift is measured. The drift of a module is Σ‖ΔW h‖² / Σ‖W h‖²
    over all tokens: how much the branches change the module's output, or its input if they are before the module. The
    result has these keys:

    - ``by_place``: by module, the ``norm``, ``effective_rank`` and ``stable_rank`` of `Spectrum`, which are None if the
      update is not equal to a matrix, and the ``drift``.
    - ``places``: the number of modules.
    - ``norm``: the norm of the whole update.
    - ``effective_rank``, ``stable_rank``, ``drift``: means over the modules.
    """
    active = str(get_state(model).active)
    places = {public_name(path): one for path, one in adapted_modules(model) if active in one.branches}
    if not places:
        return None
    drifts = _drifts(places, passes)
    by_place = {name: {**_ranks(adapted, active), "drift": drifts.get(name)} for name, adapted in places.items()}
    norms = [one["norm"] for one in by_place.values() if one["norm"] is not None]
    means = {key: _rounded(mean(one[key] for one in by_place.values())) for key in MEASURES[1:]}
    norm = _rounded(math.sqrt(sum(norm**2 for norm in norms))) if norms else None
    return {"places": len(by_place), "norm": norm, **means, "by_place": by_place}


@torch.no_grad()
def _drifts(places: Mapping[str, Adapted], passes: Callable[[], None]) -> dict[str, float | None]:
    sums: dict[str, list[Tensor]] = {}

    def watch(name: str, plain: Tensor, moved: Tensor) -> None:
        """Record the activation without and with the branches whenever a forward pass reaches a module."""
        plain = plain.float()
        squares = torch.stack([(moved.float() - plain).square().sum(), plain.square().sum()])
        sums.setdefault(name, []).append(squares)

    for name, adapted in places.items():
        adapted.watch = partial(watch, name)
    try:
        passes()
    finally:
        for adapted in places.values():
            adapted.watch = None
    drifts: dict[str, float | None] = {}
    for name, parts in sums.items():
        moved, plain = torch.stack(parts).cpu().double().sum(0).tolist()
        drifts[name] = _rounded(moved / plain) if plain else None
    return drifts


def _ranks(adapted: Adapted, name: str) -> dict[str, float | None]:
    try:
        measured = spectrum(adapted, name)
    except KronaError:  # the update is not equal to a matrix (a non-linearity, a bias)
        return dict.fromkeys(MEASURES[:-1])
    return {key: _rounded(getattr(measured, key)) for key in MEASURES[:-1]}


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None, or None if all values are None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
