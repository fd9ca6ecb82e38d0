"""Set the values of a job that conf/ alone does not determine.

These are absolute paths, the pooling of a checkpoint, ``method.fit_factors``, and the best values of a search
(recipe=tuned).
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem
from typing import Any

from krona.config.choices import choices, is_alias, is_overridden
from krona.config.default_learning_rate import rate_notes
from krona.config.model_folder import folder_pooling
from krona.messages import KronaError
from krona.paths import OUTPUTS, expand
from krona.runs.run_id import PATH_KEYS

TUNED = "optimizer.lr=tuned"  # replaces recipe=tuned, so that Hydra also reads the default recipe
STUDIES = "/"  # separates the names of studies in recipe=tuned/ONE/ANOTHER


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
    backbone = config.get("backbone")
    rates = None
    if isinstance(backbone, dict):  # a section of another type is reported later
        if backbone.get("pooling") == "auto":
            backbone["pooling"] = folder_pooling(backbone.get("path"))  # the pooling is part of the run id
        _require_own_sizes(backbone, overrides)
        rates = backbone.pop("learning_rates", None)  # conf/config.yaml has already set optimizer.lr to one of them
    _set_method_values(config, overrides)
    notes, search = _set_learning_rate(config, overrides, chosen, rates)
    return [*notes, *_name_notes(config, overrides, chosen)], search


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


def _require_own_sizes(backbone: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Raise `KronaError` if an override sets the sizes of a pretrained backbone."""
    sizes = next((item for item in overrides if item.lstrip("+").startswith("backbone.sizes")), None)
    if sizes is not None and (backbone.get("pretrained") or backbone.get("name") == "nano"):
        raise KronaError(
            f"{sizes}: the backbone {backbone.get('path') or backbone.get('name')} has the sizes of its "
            "checkpoint. To use random weights of other sizes, set backbone=t5_small backbone.pretrained=false."
        )


def _set_method_values(config: dict[str, Any], overrides: Sequence[str]) -> None:
    if is_overridden("method.kron_factors", overrides) and not is_overridden("method.fit_factors", overrides):
        config["method"]["fit_factors"] = "exact"  # a shape given on the command line is never changed
    is_shipped = str(config.get("method", {}).get("_target_")).startswith("krona.methods.")
    if is_shipped and is_overridden("method.alpha", overrides) and not is_overridden("method.scaling", overrides):
        config["method"].pop("scaling", None)  # alpha replaces the scaling of the YAML file


def _set_learning_rate(
    config: dict[str, Any], overrides: Sequence[str], chosen: Mapping[str, Any], rates: Mapping[str, Any] | None
) -> tuple[list[str], Mapping[str, Any] | None]:
    """With recipe=tuned, set the best values of the search.

    Return notes about the origin of the learning rate, and the record of the search.
    """
    studies = tuned_studies(overrides)
    if studies is not None:
        note, search = _set_tuned_values(config, overrides, studies)
        return [note], search
    has_recipe = chosen.get("recipe") in (None, *choices("recipe"))
    is_set = is_overridden("optimizer.lr", overrides) or chosen.get("experiment") is not None
    return rate_notes(config, chosen, rates, has_recipe=has_recipe, is_set=is_set), None


def _name_notes(config: Mapping[str, Any], overrides: Sequence[str], chosen: Mapping[str, Any]) -> list[str]:
    """Return a list with a note if the method's YAML sets another name than that of the file, otherwise []."""
    name, file = config.get("method", {}).get("name"), chosen.get("method")
    if name is None or file in (None, name) or is_overridden("method.name", overrides) or is_alias(str(file)):
        return []
    return [f"conf/method/{file}.yaml sets name: {name}, which tables and run ids show. Set name: {file} in this file"]


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
