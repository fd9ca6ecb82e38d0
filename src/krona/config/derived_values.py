"""Compute the values of a job that the YAML files of conf/ alone do not determine.

Resolvers such as ``${warmup:500,20,100}`` compute values of conf/ while a config is resolved. They are registered on
import. `set_derived_values` then sets absolute paths, the pooling of a checkpoint, ``method.fit_factors``, and the best
values of a search (recipe=tuned).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import getitem
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from krona.config.choices import choices, is_alias, is_overridden
from krona.config.model_folder import WIDTHS, folder_pooling, read_model_config
from krona.messages import KronaError
from krona.methods import factor_shapes
from krona.paths import INSTALLED, OUTPUTS, PROJECT, expand, sweeps_folders
from krona.runs.run_id import PATH_KEYS

TUNED = "optimizer.lr=tuned"  # replaces recipe=tuned, so that Hydra also reads the default recipe
STUDIES = "/"  # separates the names of studies in recipe=tuned/ONE/ANOTHER
WARMUP_SHARE = 0.06  # share of all steps, as in RoBERTa's fine-tuning (Liu et al. 2019)


def _choose_rate(default: float, exceptions: Mapping[str, Any] = MappingProxyType({}), *, _root_: DictConfig) -> Any:
    """Return the default learning rate of the run's method.

    If the backbone has the key ``learning_rates``, return the method's rate in this mapping, or the mapping's
    ``default``. Otherwise, return the method's rate in ``exceptions``, or the argument ``default``.
    """
    method = _root_.method.get("name")  # a missing name is reported later
    rates = _root_.backbone.get("learning_rates")
    return exceptions.get(method, default) if rates is None else rates.get(method, rates.default)


def _budget_shapes(*, _root_: DictConfig) -> str:
    """Return the shapes of A, separated by commas, with which KronA has as many parameters as LoRA of rank 1."""
    sizes = read_model_config(_root_.backbone)
    width = next((int(sizes[name]) for name in WIDTHS if sizes.get(name)), None)
    if width is None:
        raise KronaError(
            "sweeps=factor_shapes needs the width of the backbone. Set backbone.path to a folder with config.json, or "
            f"add sizes to the YAML of the backbone, such as sizes: {{hidden_size: 768}} ({', '.join(WIDTHS)})"
        )
    narrow = None
    if groups := sizes.get("num_key_value_heads"):
        narrow = groups * (sizes.get("head_dim") or width // sizes["num_attention_heads"])
    return ",".join(f"[[{a1},{a2}]]" for a1, a2 in factor_shapes.budget_shapes(width, narrow))


def _choose_warmup(steps: int, epochs: int, batch_size: int, *, _root_: DictConfig) -> int | float:
    """Return the default of ``optimizer.warmup_steps``: ``steps`` in the paper's setting, otherwise `WARMUP_SHARE`.

    In the paper's setting, a run trains on all rows of a GLUE task or sample task for ``epochs`` epochs with
    ``batch_size``, and its backbone has no ``learning_rates``.
    """
    task, data, trainer = _root_.task, _root_.data, _root_.trainer
    is_full = data.get("train_rows") is None and trainer.limit_train_batches == 1.0 and trainer.max_steps == -1
    length = (trainer.max_epochs, _root_.get("batch_size"), trainer.accumulate_grad_batches)
    of_paper = _root_.backbone.get("learning_rates") is None and task.get("files") is None
    return steps if is_full and of_paper and length == (epochs, batch_size, 1) else WARMUP_SHARE


def _wandb_mode() -> str:
    is_disabled = os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on")  # transformers' rule
    return "disabled" if is_disabled else os.environ.get("WANDB_MODE") or "auto"


RESOLVERS: dict[str, Callable[..., Any]] = {
    "project": lambda: str(PROJECT),
    "outputs": lambda: str(OUTPUTS),
    # for Hydra's help template, in which $$ stands for $
    "completion": lambda: "krona --install-completion" if INSTALLED else 'eval "$$(python train.py -sc install=bash)"',
    # Hydra's search path needs the folder that contains the config group ``sweeps``
    "search_path": lambda: [f"file://{folder.parent}" for folder in sweeps_folders()],
    "choices": lambda group: " ".join(choices(group)),
    "budget_shapes": _budget_shapes,
    "learning_rate": _choose_rate,
    "warmup": _choose_warmup,
    "variable": lambda name, default=None: os.environ.get(name) or default,  # an empty variable is treated as unset
    "variable_list": lambda name: (
        [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()] or None
    ),
    "wandb_mode": _wandb_mode,
}
for _name, _resolver in RESOLVERS.items():
    OmegaConf.register_new_resolver(_name, _resolver, replace=True)


def set_derived_values(
    config: dict[str, Any], overrides: list[str], chosen: Mapping[str, Any]
) -> tuple[list[str], Mapping[str, Any] | None]:
    """Set the derived values in ``config``. Return notes for the user, and the record of the search of recipe=tuned.

    Args:
        chosen: maps each config group, such as ``method``, to the name of the chosen file.

    Raises:
        KronaError: an override sets the sizes of a pretrained backbone, a file of the checkpoint is damaged, or (with
            recipe=tuned) `krona.config.tuned.best` raises an error.
    """
    _make_paths_absolute(config)
    rates = None
    backbone, method = config.get("backbone"), config.get("method", {})
    if isinstance(backbone, dict):  # a section of another type is reported later
        if backbone.get("pooling") == "auto":
            backbone["pooling"] = folder_pooling(backbone.get("path"))  # the pooling is part of the run id
        sizes = next((item for item in overrides if item.lstrip("+").startswith("backbone.sizes")), None)
        if sizes is not None and (backbone.get("pretrained") or backbone.get("name") == "nano"):
            raise KronaError(
                f"{sizes}: the backbone {backbone.get('path') or backbone.get('name')} has the sizes of its "
                "checkpoint. To use random weights of other sizes, set backbone=t5_small backbone.pretrained=false."
            )
        rates = backbone.pop("learning_rates", None)  # conf/config.yaml has already set optimizer.lr to one of them
    if is_overridden("method.kron_factors", overrides) and not is_overridden("method.fit_factors", overrides):
        method["fit_factors"] = "exact"  # a shape given on the command line is never changed
    is_shipped = str(method.get("_target_")).startswith("krona.methods.")
    if is_shipped and is_overridden("method.alpha", overrides) and not is_overridden("method.scaling", overrides):
        method.pop("scaling", None)  # alpha replaces the scaling of the YAML file
    search = None
    if (studies := tuned_studies(overrides)) is not None:
        note, search = _set_tuned_values(config, overrides, studies)
        notes = [note]
    else:
        is_set = is_overridden("optimizer.lr", overrides) or chosen.get("experiment") is not None
        notes = _rate_notes(config, chosen, rates, is_set=is_set)
    name, file = method.get("name"), chosen.get("method")
    is_kept = name is None or file in (None, name) or is_overridden("method.name", overrides)
    if not is_kept and not is_alias(str(file)):
        notes.append(
            f"conf/method/{file}.yaml sets name: {name}, which tables and run ids show. Set name: {file} in this file"
        )
    return notes, search


def _make_paths_absolute(config: dict[str, Any]) -> None:
    """Replace existing paths by absolute ones, so that result.json is valid in every working directory."""
    for path_key in PATH_KEYS:
        section, key = path_key.split(".")
        values = config.get(section)
        if isinstance(values, dict) and key in values:
            values[key] = _absolute(values[key])
    files = (config.get("task") or {}).get("files")
    if files and not (config.get("data") or {}).get("path"):  # relative files are relative to the working directory
        config["task"]["files"] = _absolute(files)


def _absolute(files: object) -> object:
    """Return an existing path, or the existing paths in a dict, as absolute paths. Return other values unchanged."""
    if isinstance(files, dict):
        return {key: _absolute(file) for key, file in files.items()}
    return str(expand(files).absolute()) if isinstance(files, str) and expand(files).exists() else files


def tuned_studies(overrides: Sequence[str]) -> list[str] | None:
    """Return the names of the studies in recipe=tuned/ONE/ANOTHER. Return None if recipe=tuned is not used."""
    names = (item.lstrip("+").split(STUDIES) for item in overrides)
    return next((studies for first, *studies in names if first == TUNED), None)


def _set_tuned_values(
    config: dict[str, Any], overrides: Sequence[str], studies: Sequence[str]
) -> tuple[str, Mapping[str, Any]]:
    """Set the best values of a search in ``config``. Return a note about their origin, and the record of the search.

    ``optimizer.lr`` is always set. Other values are set only if ``overrides`` do not set them.
    """
    from krona.config import tuned  # imports pydantic, which other commands may not need

    values, note, search = tuned.best(config, outputs=OUTPUTS, studies=studies)
    shape_set = is_overridden("factors", overrides) or is_overridden("method.kron_factors", overrides)
    for key, value in values.items():
        is_set = shape_set if key in tuned.GROUP_KEYS["factors"] else is_overridden(key, overrides)
        if key == "optimizer.lr" or not is_set:
            *parents, last = key.split(".")
            reduce(getitem, parents, config)[last] = value
    return note, search


def _rate_notes(
    config: Mapping[str, Any], chosen: Mapping[str, Any], rates: Mapping[str, Any] | None, *, is_set: bool
) -> list[str]:
    """Return notes about the origin of the learning rate. A rate from the paper or the user needs no note.

    Args:
        chosen: maps each config group, such as ``method``, to the name of the chosen file.
        rates: the backbone's ``learning_rates``.
        is_set: whether the user or an experiment set the learning rate.
    """
    method, task, optimizer = config.get("method", {}), config.get("task", {}), config.get("optimizer")
    # A section that is not a mapping is reported later.
    lr = optimizer.get("lr") if isinstance(optimizer, Mapping) else None
    if rates is not None and not is_set and lr == rates.get(method.get("name"), rates["default"]):
        untuned = ". It was not tuned on this backbone: set optimizer.lr, or run krona tune"
        advice = "" if rates.get("tuned") else untuned
        return [f"lr {lr:g} is from conf/backbone/{chosen.get('backbone')}.yaml. Source: {rates.get('source')}{advice}"]
    notes = []
    from_table = str(method.get("source", "")).startswith("Table")
    has_recipe = chosen.get("recipe") in (None, *choices("recipe"))  # the paper's values for a method and a task
    if not has_recipe and not (from_table and task.get("hub_name") and not task.get("sample")):
        used = f"the values of conf/method/{chosen.get('method')}.yaml, with lr {lr}"
        notes = [f"no recipe {chosen['recipe']} in conf/recipe, so the run uses {used}"]
    backbone = config.get("backbone") or {}
    architecture = str(backbone.get("architecture") or read_model_config(backbone).get("model_type") or "t5")
    if lr and not is_set and rates is None and "t5" not in architecture:
        notes.append(f"lr {lr:g} was found on T5, not on {architecture}. Set optimizer.lr, or run krona tune")
    return notes
