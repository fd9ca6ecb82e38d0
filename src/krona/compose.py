"""The edge to Hydra: a composed DictConfig becomes plain values, and what was typed is told from what was chosen."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from krona import tuned
from krona.backbone_source import NANO
from krona.errors import KronaError
from krona.invocation import PROJECT as PROJECT
from krona.names import did_you_mean

CONF = PROJECT / "conf"

OUTPUTS = Path(os.environ.get("KRONA_OUTPUTS") or PROJECT / "outputs").absolute()  # of a cluster, a shared folder
TUNED = "optimizer.lr=tuned"  # what recipe=tuned stands for: the pair's recipe, with the best of a search
STUDIES = "/"  # between its studies' names, which have none: recipe=tuned/ONE/ANOTHER


def _budget_shapes(_root_: DictConfig) -> str:
    backbone = OmegaConf.to_container(_root_.backbone, resolve=False)
    assert isinstance(backbone, dict)
    return ",".join(f"[[{a1},{a2}]]" for a1, a2 in budget_shapes({str(key): v for key, v in backbone.items()}))


def groups() -> list[str]:
    """The groups of conf/, and sweeps/ beside it."""
    return [*sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"), "sweeps"]


def choices(group: str) -> list[str]:
    """The names that a group offers."""
    if group == "sweeps":  # its folders hold what krona tune and W&B's agents read
        return sorted(path.stem for path in (PROJECT / group).glob("*.yaml"))
    folder = CONF / group
    hydras = ["basic"] if group == "hydra/launcher" else []  # one after the other, in this process
    return hydras + sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def put_aside_other_launchers() -> None:
    """Let conf/hydra/launcher/ be what its names mean.

    Where Hydra's own launchers are installed too, Hydra takes theirs of the same name for a schema of ours.
    """
    Plugins.instance()  # they are registered now, and not again
    stored: Any = ConfigStore.instance().repo.get("hydra", {})
    for path in (CONF / "hydra" / "launcher").glob("*.yaml"):
        stored.get("launcher", {}).pop(path.name, None)


OmegaConf.register_new_resolver("project", lambda: str(PROJECT), replace=True)
OmegaConf.register_new_resolver("outputs", lambda: str(OUTPUTS), replace=True)
OmegaConf.register_new_resolver("choices", lambda group: " ".join(choices(group)), replace=True)
OmegaConf.register_new_resolver("budget_shapes", _budget_shapes, replace=True)


@dataclass(frozen=True)
class Composed:
    """A job's plain values, and what its user should know of where they came from."""

    config: dict[str, Any]
    notes: list[str]


def composed(cfg: DictConfig) -> Composed:
    """The plain values of the job that Hydra is at. Raises `KronaError` where a value that must be given is missing."""
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    overrides = [str(item) for item in hydra.overrides.task] if hydra is not None else []
    return plain(cfg, overrides=overrides, chosen=dict(hydra.runtime.choices) if hydra is not None else {})


def plain(cfg: DictConfig, *, overrides: list[str], chosen: Mapping[str, Any]) -> Composed:
    """The plain values of a job with these overrides, and each group's choice. Raises as `composed` does."""
    try:
        missing = sorted(key for key in OmegaConf.missing_keys(cfg) if not key.startswith("hydra"))
        if missing:
            hints = {"backbone.path": " (a T5's folder)", "data.path": " (GLUE's folder)", "optimizer.lr": " (as 1e-3)"}
            raise KronaError("; ".join(f"{key} must be given{hints.get(key, '')}: {key}=…" for key in missing))
        config = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise KronaError(str(error).splitlines()[0]) from error
    assert isinstance(config, dict)
    values = {str(key): value for key, value in config.items()}
    require_choices(chosen)
    if typed("method.kron_factors", overrides) and "method" in values:
        values["method"]["fit_factors"] = "exact"  # a shape that was typed is never changed
    studies = next((item.split(STUDIES)[1:] for item in overrides if item.split(STUDIES)[0] == TUNED), None)
    if studies is not None:
        return Composed(config=values, notes=[take_tuned(values, overrides, studies)])
    return Composed(config=values, notes=recipe_notes(values, chosen, overrides))


def take_tuned(config: dict[str, Any], overrides: list[str], studies: Sequence[str] = ()) -> str:
    """Put in what a search found best, unless it was typed; a line that says what was taken and where it comes from."""
    found = tuned.best(config, outputs=OUTPUTS, studies=studies)
    shape_typed = typed("factors", overrides) or typed("method.kron_factors", overrides)
    for key, value in found.values.items():
        own = shape_typed if key in tuned.STANDS_FOR["factors"] else typed(key, overrides)
        if key == "optimizer.lr" or not own:
            *parents, last = key.split(".")
            reduce(getitem, parents, config)[last] = value
    return found.said


def budget_shapes(backbone: dict[str, Any]) -> list[tuple[int, int]]:
    """Shapes of A, no side of A or B below 2, with as many parameters as LoRA of rank 1 on a d_model-wide layer."""
    sizes = backbone.get("sizes") or {}
    folder = NANO if backbone.get("name") == "nano" else backbone.get("path")
    if "d_model" not in sizes and folder is not None:
        sizes = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    if "d_model" not in sizes:
        raise KronaError("sweeps=factor_shapes needs the backbone's width: backbone.sizes.d_model=…")
    width = int(sizes["d_model"])
    return [(side, width // side) for side in range(2, width // 2 + 1) if width % side == 0]


def typed(key: str, overrides: list[str]) -> bool:
    """Whether one of a job's overrides sets ``key``."""
    return any(re.sub(r"^[+~]+", "", item).split("=", 1)[0].split("@")[0] == key for item in overrides)


def require_choices(chosen: Mapping[str, Any]) -> None:
    """Raise for a name that an optional group does not have: Hydra would go on without it, in silence."""
    for group in ("factors", "variant", "sweeps"):
        name = chosen.get(group)
        if name is not None and name not in choices(group):
            raise KronaError(no_such(group, str(name)))


def no_such(group: str, name: str) -> str:
    """That a group has no such name, and what it has."""
    more = ""
    if group == "factors":
        shape = re.fullmatch(r"(\d+)x(\d+)", name)
        sides = f"[[{shape[1]},{shape[2]}]]" if shape else "[[a1,a2]]"
        more = f". Any other shape of A: method.kron_factors={sides}, B follows from the layer"
    return f"{group}={name}: no such {group}; {did_you_mean(name, choices(group))}{more}"


def recipe_notes(config: dict[str, Any], choices: Mapping[str, Any], overrides: list[str]) -> list[str]:
    """A recipe is optional. Which values hold without one is said; one that was asked for must be there."""
    choice = choices.get("recipe")
    if choice is None or (CONF / "recipe" / f"{choice}.yaml").is_file():
        return []
    if typed("recipe", overrides):
        there = sorted(str(p.relative_to(CONF / "recipe").with_suffix("")) for p in (CONF / "recipe").rglob("*.yaml"))
        raise KronaError(f"recipe={choice}: there is no conf/recipe/{choice}.yaml; there are: {', '.join(there)}")
    method, task = config.get("method", {}), config.get("task", {})
    if str(method.get("source", "")).startswith("Table") and task.get("hub_name") and not task.get("sample"):
        return []  # the method's own values are the table's row for this task
    lr = config.get("optimizer", {}).get("lr")
    return [f"no recipe {choice}: the values of conf/method/{choices.get('method')}.yaml, lr {lr}"]
