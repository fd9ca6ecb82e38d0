"""The edge to Hydra: a composed DictConfig becomes plain values, and what was typed is told from what was chosen."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from krona.errors import KronaError

PROJECT = Path(__file__).resolve().parents[2]
CONF = PROJECT / "conf"

OmegaConf.register_new_resolver("project", lambda: str(PROJECT), replace=True)


@dataclass(frozen=True)
class Composed:
    """A job's plain values, and what its user should know of where they came from."""

    config: dict[str, Any]
    notes: list[str]


def composed(cfg: DictConfig) -> Composed:
    """The plain values of one job. Raises `KronaError` where a value that must be given is missing."""
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
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    overrides = [str(item) for item in hydra.overrides.task] if hydra is not None else []
    choices = dict(hydra.runtime.choices) if hydra is not None else {}
    if typed("method.kron_factors", overrides) and "method" in values:
        values["method"]["fit_factors"] = "exact"  # a shape that was typed is never changed
    return Composed(config=values, notes=recipe_notes(values, choices, overrides))


def typed(key: str, overrides: list[str]) -> bool:
    """Whether one of a job's overrides sets ``key``."""
    return any(re.sub(r"^[+~]+", "", item).split("=", 1)[0].split("@")[0] == key for item in overrides)


def recipe_notes(config: dict[str, Any], choices: dict[str, Any], overrides: list[str]) -> list[str]:
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
