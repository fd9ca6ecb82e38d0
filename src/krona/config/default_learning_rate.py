"""Choose a run's learning rate, and describe its origin."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig

from krona.config.model_folder import read_model_config


def choose_rate(default: float, exceptions: Mapping[str, Any] = MappingProxyType({}), *, _root_: DictConfig) -> Any:
    """Return the default learning rate of the run's method.

    If the backbone has the key ``learning_rates``, return the method's rate in this mapping, or the mapping's
    ``default``. Otherwise, return the method's rate in ``exceptions``, or the argument ``default``.
    """
    method = _root_.method.get("name")  # a missing name is reported later
    rates = _root_.backbone.get("learning_rates")
    return exceptions.get(method, default) if rates is None else rates.get(method, rates.default)


def rate_notes(
    config: Mapping[str, Any],
    chosen: Mapping[str, Any],
    rates: Mapping[str, Any] | None,
    *,
    has_recipe: bool,
    is_set: bool,
) -> list[str]:
    """Return notes about the origin of the learning rate. A rate from the paper or the user needs no note.

    Args:
        chosen: maps each config group, such as ``method``, to the name of the chosen file.
        rates: the backbone's ``learning_rates``.
        has_recipe: false if the chosen recipe (the paper's values for a method and a task) does not exist.
        is_set: whether the user or an experiment set the learning rate.
    """
    method, task, optimizer = config.get("method", {}), config.get("task", {}), config.get("optimizer")
    # A section that is not a mapping is reported later.
    lr = optimizer.get("lr") if isinstance(optimizer, Mapping) else None
    if rates is not None and not is_set and lr == rates.get(method.get("name"), rates["default"]):
        advice = (
            "" if rates.get("tuned") else ". It was not tuned on this backbone: set optimizer.lr, or run krona tune"
        )
        return [f"lr {lr:g} is from conf/backbone/{chosen.get('backbone')}.yaml. Source: {rates.get('source')}{advice}"]
    notes = []
    from_table = str(method.get("source", "")).startswith("Table")
    if not has_recipe and not (from_table and task.get("hub_name") and not task.get("sample")):
        used = f"the values of conf/method/{chosen.get('method')}.yaml, with lr {lr}"
        notes = [f"no recipe {chosen['recipe']} in conf/recipe, so the run uses {used}"]
    backbone = config.get("backbone") or {}
    architecture = str(backbone.get("architecture") or read_model_config(backbone).get("model_type") or "t5")
    if lr and not is_set and rates is None and "t5" not in architecture:
        notes.append(f"lr {lr:g} was found on T5, not on {architecture}. Set optimizer.lr, or run krona tune")
    return notes
