"""Insertion of a method's settings into a backbone, the paper's shapes fitted to its layers."""

import math
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from torch import nn

from krona import surgery
from krona.backbones.families import find_architecture, target_patterns
from krona.config.check import PLACEMENT_KEYS, TRAINS
from krona.config.settings import Method
from krona.config.targets import find
from krona.methods.factor_shapes import factor_b
from krona.surgery.targets import match_places, widths_of_part

PLAIN = (bool, int, float, str, list, tuple, type(None))  # what JSON holds


def insert_method(
    model: nn.Module, method: Method, *, counterparts: Mapping[str, Any], reversible: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Insert ``method``; returns the branch's arguments as they were used, and notes on them for the reader.

    ``counterparts``: the backbone's own for the paper's shapes (``backbone.factor_shapes``).
    """
    placement = {**method.placement, **placed(model, method)}
    if method.branch is None:
        surgery.insert(model, reversible=reversible, **placement)
        return {}, []
    shared = find_architecture(model).fused(method.placement["target_modules"])
    branch = branch_class(method.branch)
    config: dict[str, Any] = dict(method.branch_config)
    notes: list[str] = []
    widths = _widths(model, placement["target_modules"]) if "kron_factors" in config else set()
    if widths and method.fit_factors == "nearest" and hasattr(branch, "fit_to_layer"):  # see krona.methods
        config["kron_factors"], notes = _fitted(branch, config["kron_factors"], widths, counterparts)
    surgery.insert(model, branch, reversible=reversible, **placement, **config)
    if len(widths) == 1 and len(config["kron_factors"]) == 1:  # record B too if all layers have the same one
        (a,), ((d_in, d_out),) = config["kron_factors"], widths
        config["kron_factors"] = [list(a), list(factor_b(a, d_in, d_out))]
    return config, notes + shared


def method_defaults(method: Method) -> dict[str, Any]:
    """The defaults of the branch's and the placement's arguments that the method leaves out.

    A result keeps them, so that a report can tell an argument set to its default from another setting.
    """
    keys = PLACEMENT_KEYS if method.branch else TRAINS
    found = {key: p for key, p in signature(surgery.InsertOptions).parameters.items() if key in keys}
    if method.branch is not None:
        found |= signature(branch_class(method.branch)).parameters
    given = {**method.placement, **method.branch_config}
    return {key: p.default for key, p in found.items() if key not in given and isinstance(p.default, PLAIN)}


def branch_class(path: str) -> type[nn.Module]:
    """The class of checked settings: `krona.config.check` has refused what they may not name."""
    found: type[nn.Module] = find(path, "method._target_", "branch", own=True)
    return found


def placed(model: nn.Module, method: Method) -> dict[str, Any]:
    """The method's places in the backbone's own names, and the backbone's head: arguments of `surgery.insert`."""
    architecture = find_architecture(model)
    found: dict[str, Any] = {"head": architecture.head} if architecture.head else {}
    words = method.placement.get("target_modules")
    if not words or not architecture.names:
        return found
    places = target_patterns(model, words)
    found["target_modules"] = list(places)
    how = method.placement.get("placement", "parallel")
    if not isinstance(how, str) and len(how) == len(words):  # one for each word: one for each pattern
        found["placement"] = [how[number] for number in places.values()]
    return found


def _widths(model: nn.Module, patterns: Sequence[str]) -> set[tuple[int, int]]:
    """(d_in, d_out) of the places that the method's branches go to."""
    return {
        widths_of_part(model.get_submodule(place), None if match.entry is None else model.get_submodule(match.entry))
        for place, match in match_places(model, patterns).items()
    }


def _fitted(
    branch: Any, kron_factors: Any, widths: set[tuple[int, int]], counterparts: Mapping[str, Any]
) -> tuple[list[list[int]], list[str]]:
    """The paper's factors if they fit these layers, else their counterpart and a note.

    Layers of several widths (grouped queries) share the shape of A; B follows from each.
    """
    wanted = [list(shape) for shape in kron_factors]
    a1, a2 = wanted[0]
    several = len(widths) > 1
    if several and all(d_in % a1 == d_out % a2 == 0 and d_in // a1 > 1 < d_out // a2 for d_in, d_out in widths):
        return wanted[:1], []
    d_in, d_out = (math.gcd(*sides) for sides in zip(*widths, strict=True))
    fitted = branch.fit_to_layer(wanted, d_in, d_out, counterparts)
    p, q = fitted[0]
    if (a1, a2) == (p, q):
        return fitted, []
    layers = ", ".join(f"{of_in} → {of_out}" for of_in, of_out in sorted(widths))
    note = f"factors ({a1}, {a2}) of the paper become ({p}, {q}) on layers {layers}"
    return fitted[:1] if several else fitted, [note]
