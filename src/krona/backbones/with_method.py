"""Insertion of a method's settings into a backbone, the paper's shapes fitted to its layers."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from torch import nn

from krona import surgery
from krona.config.check import PLACEMENT_KEYS, TRAINS, locate
from krona.config.settings import Method
from krona.messages import KronaError
from krona.methods.factor_shapes import factor_b

PLAIN = (bool, int, float, str, list, tuple, type(None))  # what JSON holds


def insert_method(
    model: nn.Module, method: Method, *, counterparts: Mapping[str, Any], reversible: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Insert ``method``; returns the branch's arguments as they were used, and notes on them for the reader.

    ``counterparts``: the backbone's own for the paper's shapes (``backbone.factor_shapes``).
    """
    if method.branch is None:
        surgery.insert(model, reversible=reversible, **method.placement)
        return {}, []
    branch = locate(method.branch, "method._target_")
    config: dict[str, Any] = dict(method.branch_config)
    notes: list[str] = []
    widths = _widths(model, method) if "kron_factors" in config else set()
    if widths and method.fit_factors == "nearest" and hasattr(branch, "fit_to_layer"):  # see krona.methods
        config["kron_factors"], notes = _fitted(branch, config["kron_factors"], widths, counterparts)
    surgery.insert(model, branch, reversible=reversible, **method.placement, **config)
    if len(widths) == 1 and len(config["kron_factors"]) == 1:  # record B too if all layers have the same one
        (a,), ((d_in, d_out),) = config["kron_factors"], widths
        config["kron_factors"] = [list(a), list(factor_b(a, d_in, d_out))]
    return config, notes


def method_defaults(method: Method) -> dict[str, Any]:
    """The defaults of the branch's and the placement's arguments that the method leaves out.

    A result keeps them, so that a report can tell an argument set to its default from another setting.
    """
    keys = PLACEMENT_KEYS if method.branch else TRAINS
    found = {key: p for key, p in signature(surgery.insert).parameters.items() if key in keys}
    if method.branch is not None:
        found |= signature(locate(method.branch, "method._target_")).parameters
    given = {**method.placement, **method.branch_config}
    return {key: p.default for key, p in found.items() if key not in given and isinstance(p.default, PLAIN)}


def _widths(model: nn.Module, method: Method) -> set[tuple[int, int]]:
    """(d_in, d_out) of the places that the method's branches go to."""
    places = surgery.find_places(model, method.placement["target_modules"])
    return {surgery.widths(model.get_submodule(place)) for place in places}


def _fitted(
    branch: Any, kron_factors: Any, widths: set[tuple[int, int]], counterparts: Mapping[str, Any]
) -> tuple[list[list[int]], list[str]]:
    """The paper's factors if they fit these layers, else their counterpart and a note."""
    wanted = [list(shape) for shape in kron_factors]
    if len(widths) > 1:
        layers = ", ".join(f"{d_in} → {d_out}" for d_in, d_out in sorted(widths))
        raise KronaError(
            f"target_modules match layers of {len(widths)} widths ({layers}): set method.kron_factors=[[a1, a2]] "
            "with a shape of A that divides them all; B follows from each layer"
        )
    ((d_in, d_out),) = widths
    fitted = branch.fit_to_layer(wanted, d_in, d_out, counterparts)
    if fitted == wanted:
        return fitted, []
    (a1, a2), (p, q) = wanted[0], fitted[0]
    return fitted, [f"factors ({a1}, {a2}) of the paper become ({p}, {q}) on layers {d_in} → {d_out}"]
