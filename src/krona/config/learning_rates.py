"""Choose a run's learning rate and warm-up, and describe the origin of the rate."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig

from krona.paths import NANO, expand
from krona.safe_files import read_json

WIDTHS = ("d_model", "hidden_size", "n_embd", "dim")  # the keys that model configs use for the width
WARMUP_SHARE = 0.06  # of all steps, as RoBERTa's fine-tuning (Liu et al. 2019)


def choose_rate(default: float, exceptions: Mapping[str, Any] = MappingProxyType({}), *, _root_: DictConfig) -> Any:
    """Return the method's rate in the backbone's ``learning_rates``, or else in ``exceptions``, or else ``default``."""
    method = _root_.method.get("name")  # a missing name is reported later
    rates = _root_.backbone.get("learning_rates")
    return exceptions.get(method, default) if rates is None else rates.get(method, rates.default)


def choose_warmup(steps: int, epochs: int, batch_size: int, *, _root_: DictConfig) -> int | float:
    """Return ``steps`` for a run like those for which ``steps`` was chosen, and `WARMUP_SHARE` for all other runs.

    Such a run trains on all rows of a GLUE task or sample task, for ``epochs`` epochs with ``batch_size``, and its
    backbone has no ``learning_rates``.
    """
    task, data, trainer = _root_.task, _root_.data, _root_.trainer
    whole = data.get("train_rows") is None and trainer.limit_train_batches == 1.0 and trainer.max_steps == -1
    length = (trainer.max_epochs, _root_.get("batch_size"), trainer.accumulate_grad_batches)
    of_paper = _root_.backbone.get("learning_rates") is None and task.get("files") is None
    return steps if whole and of_paper and length == (epochs, batch_size, 1) else WARMUP_SHARE


def rate_notes(
    config: Mapping[str, Any],
    chosen: Mapping[str, Any],
    rates: Mapping[str, Any] | None,
    *,
    has_recipe: bool,
    is_set: bool,
) -> list[str]:
    """Return notes on the origin of the learning rate. Values of the paper or of the user have no note.

    Args:
        chosen: a dict from each folder of conf/, such as ``method``, to the name of the chosen file.
        rates: the backbone's ``learning_rates``.
        has_recipe: false if the chosen recipe (the paper's values for a method and a task) does not exist.
        is_set: whether the user or an experiment set the learning rate.
    """
    method, optimizer = config.get("method", {}), config.get("optimizer")
    lr = optimizer.get("lr") if isinstance(optimizer, Mapping) else None  # a wrong section is reported later
    if rates is not None and not is_set and lr == rates.get(method.get("name"), rates["default"]):
        return [f"lr {lr:g} is from conf/backbone/{chosen.get('backbone')}.yaml. Source: {rates.get('source')}"]
    notes = []
    if not has_recipe and not _is_row_of_table(config):
        used = f"the values of conf/method/{chosen.get('method')}.yaml, with lr {lr}"
        notes = [f"no recipe {chosen['recipe']} in conf/recipe: the run uses {used}"]
    backbone = config.get("backbone") or {}
    architecture = str(backbone.get("architecture") or read_model_config(backbone).get("model_type") or "t5")
    if lr and not is_set and rates is None and "t5" not in architecture:
        notes.append(f"lr {lr:g} was found on T5, not on {architecture}. Set optimizer.lr, or run krona tune")
    return notes


def read_model_config(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a backbone's config.json. If there is no such file, return the setting ``sizes``."""
    folder = NANO if backbone.get("name") == "nano" else backbone.get("path")
    if isinstance(folder, str | Path) and (file := expand(folder) / "config.json").is_file():
        with suppress(OSError, ValueError):  # the loading of the backbone reports a damaged file
            content = read_json(file)
            return content if isinstance(content, dict) else {}
    sizes = backbone.get("sizes")
    return dict(sizes) if isinstance(sizes, Mapping) else {}  # another type is reported later


def _is_row_of_table(config: Mapping[str, Any]) -> bool:
    """Return whether the method's YAML has the paper's values for the task."""
    task = config.get("task", {})
    from_table = str(config.get("method", {}).get("source", "")).startswith("Table")
    return from_table and bool(task.get("hub_name")) and not task.get("sample")
