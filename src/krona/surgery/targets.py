"""Placement of branches: patterns over module names, and the widths of the modules that they match.

A name (``q``, ``SelfAttention``, ``encoder.block.0.layer.0.SelfAttention.q``) takes the modules whose dotted name ends
with it; a pattern whose last part has a ``*`` (``encoder.*``, ``SelfAttention.*``, ``wi*``) takes the linear layers
that it matches.
"""

import fnmatch
from collections.abc import Sequence
from typing import Any

from torch import nn

from krona.messages import KronaError, did_you_mean
from krona.surgery.wrapper import base_of, of_an_adapter, public_name


def find_places(model: nn.Module, target_modules: Sequence[str]) -> list[str]:
    return list(match_places(model, target_modules))


def match_places(model: nn.Module, target_modules: Sequence[str]) -> dict[str, int]:
    """The modules that the patterns match, in the model's order, each with the number of the first that does.

    Raises:
        KronaError: a pattern that matches nothing, with near names.
    """
    candidates = {
        public_name(name): name
        for name, module in model.named_modules()
        if not of_an_adapter(f"{name}.") and not name.endswith(".base") and widths_or_none(base_of(module)) is not None
    }
    places: dict[str, int] = {}
    for number, pattern in enumerate(target_modules):
        last = pattern.rsplit(".", 1)[-1]
        matched = [
            name
            for public, name in candidates.items()
            if (fnmatch.fnmatchcase(public, pattern) or fnmatch.fnmatchcase(public, f"*.{pattern}"))
            and ("*" not in last or isinstance(base_of(model.get_submodule(name)), nn.Linear))
        ]
        if not matched:
            ends = sorted({public.rsplit(".", 1)[-1] for public in candidates})
            near = did_you_mean(last, ends)
            raise KronaError(f"target_modules: {pattern!r} matches no module of this backbone: {near}")
        for name in matched:
            places.setdefault(name, number)
    return {name: places[name] for name, _ in model.named_modules() if name in places}


def widths_or_none(module: nn.Module) -> tuple[int, int] | None:
    """(d_in, d_out) of a module that can carry a branch: a linear layer, a LayerNorm, an FFN, an attention."""
    module = base_of(module)
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if type(module).__name__.endswith("Norm"):
        weight = module.get_parameter("weight")
        return weight.numel(), weight.numel()
    first: Any = getattr(module, "wi", None) or getattr(module, "wi_0", None) or getattr(module, "q", None)
    last: Any = getattr(module, "wo", None) or getattr(module, "o", None)
    if first is None or last is None:
        return None
    d_in: Any = base_of(first).in_features
    d_out: Any = base_of(last).out_features
    return int(d_in), int(d_out)


def widths(module: nn.Module) -> tuple[int, int]:
    """(d_in, d_out) of a module; an error if it can carry no branch."""
    found = widths_or_none(module)
    if found is None:
        raise KronaError(f"a {type(module).__name__} can carry no branch")
    return found
