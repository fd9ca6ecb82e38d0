"""Insert a tuning method into a backbone.

The settings of a method use T5's module names. This module translates these names to the module names of the
backbone, and adjusts the shapes of Kronecker factors to the sizes of the backbone's layers.
"""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from torch import nn

from krona import surgery
from krona.backbones.families import find_architecture, target_patterns
from krona.backbones.load import meta_model
from krona.config.check import PLACEMENT_KEYS, TRAINS
from krona.config.settings import Method, RunSettings
from krona.config.target_classes import find_class
from krona.methods.branch import Branch
from krona.methods.factor_shapes import Shape, factor_b, fit_factors
from krona.methods.placement import InsertOptions
from krona.surgery.state import get_adapter
from krona.surgery.target_modules import match_modules, widths

TARGET = ("method._target_", "branch")  # the key that names the class of the branches, and the kind of the class
PLAIN = (bool, int, float, str, list, tuple, type(None))  # types that JSON can represent


def insert_method(
    model: nn.Module,
    method: Method,
    *,
    factor_shapes: Mapping[str, Any] | None = None,
    reversible: bool = True,
    steps: int | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Insert the branches of a method into a model. Return the arguments of the branches, and notes for the user.

    Args:
        factor_shapes: maps the paper's shapes of A to the shapes that replace them in this backbone
            (``backbone.factor_shapes``).
        reversible: see `krona.surgery.insert`.
        steps: the number of optimizer steps of the run, or None if it is not known.
    """
    placement = _translate_targets(model, method)
    if method.branch is None:
        surgery.insert(model, reversible=reversible, **placement)
        return {}, []
    notes = find_architecture(model).fused_layers(method.placement.get("target_modules", ()))
    branch: type[Branch] = find_class(method.branch, *TARGET)
    config = dict(method.branch_config)
    config = branch.fit_to_run(config, lambda words: list(target_patterns(model, words)), steps)
    sizes = _find_widths(model, placement["target_modules"]) if "kron_factors" in config else set()
    if sizes and method.fit_factors == "nearest":
        shape = tuple(config["kron_factors"][0])
        config["kron_factors"] = fit_factors(config["kron_factors"], sizes, factor_shapes or {})
        if shape != (fitted := tuple(config["kron_factors"][0])):
            layers = ", ".join(f"{d_in} → {d_out}" for d_in, d_out in sorted(sizes))
            notes = [f"The paper's factor shape {shape} becomes {fitted} on layers {layers}.", *notes]
    surgery.insert(model, branch, reversible=reversible, **placement, **config)
    notes = notes + get_adapter(model).notes
    if len(sizes) == 1 and len(config["kron_factors"]) == 1:  # the shape of B is the same on all layers
        (a,), ((d_in, d_out),) = config["kron_factors"], sizes
        config["kron_factors"] = [list(a), list(factor_b(a, d_in, d_out))]
    return config, notes


def fitted_factors(settings: RunSettings) -> Any:
    """Return the method's factor shapes, or the shapes that replace them on this backbone (``fit_factors: nearest``).

    For a backbone on the Hub without ``sizes``, the shapes are returned unchanged, because the widths of its layers are
    unknown.
    """
    method, backbone = settings.method, settings.backbone
    factors = method.branch_config["kron_factors"]
    if backbone.folder is None and backbone.sizes is None:
        return factors
    model = meta_model(backbone, settings.task)
    placement = _translate_targets(model, method)
    return fit_factors(factors, _find_widths(model, placement["target_modules"]), backbone.factor_shapes)


def method_defaults(method: Method) -> dict[str, Any]:
    """Return the default values of the branch and placement arguments that the method does not set.

    result.json records these values, so that a report can recognise a run that sets a default value explicitly.
    """
    keys = PLACEMENT_KEYS if method.branch else TRAINS
    parameters = {key: p for key, p in signature(InsertOptions).parameters.items() if key in keys}
    if method.branch is not None:
        parameters |= signature(find_class(method.branch, *TARGET)).parameters
    given = {**method.placement, **method.branch_config}
    return {key: p.default for key, p in parameters.items() if key not in given and isinstance(p.default, PLAIN)}


def _find_widths(model: nn.Module, patterns: Sequence[str]) -> set[Shape]:
    """Return the different widths (d_in, d_out) of the adapted layers."""
    return {
        widths(model.get_submodule(name), None if match.first is None else model.get_submodule(match.first))
        for name, match in match_modules(model, patterns).items()
    }


def _translate_targets(model: nn.Module, method: Method) -> dict[str, Any]:
    """Return the arguments of `surgery.insert`, with target_modules, placement and head for the backbone."""
    architecture, arguments = find_architecture(model), dict(method.placement)
    if architecture.head:
        arguments["head"] = architecture.head
    words = method.placement.get("target_modules")
    if not words or not architecture.names:
        return arguments
    patterns = target_patterns(model, words)
    arguments["target_modules"] = list(patterns)
    placement = method.placement.get("placement", "parallel")
    # The method has one placement for each word. `surgery.insert` needs one placement for each pattern.
    if not isinstance(placement, str) and len(placement) == len(words):
        arguments["placement"] = [placement[index] for index in patterns.values()]
    return arguments
