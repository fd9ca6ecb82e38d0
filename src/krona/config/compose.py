"""Composition of jobs: Hydra's configs and command-line overrides in, plain values out."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from itertools import islice
from math import prod
from operator import getitem
from pathlib import Path
from string import Template
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from krona.config import tuned
from krona.config.choices import choices, groups, put_aside_other_launchers, require_choices, require_names
from krona.config.hydra_internals import apply_overrides, sweep_jobs
from krona.config.pooling import resolve_pooling
from krona.messages import KronaError
from krona.paths import CONF, OUTPUTS

MAX_RUNS = 10_000  # a sweep of more runs is most likely a mistake
COUNTED = 1_000_000  # values of an axis
TUNED = "optimizer.lr=tuned"  # recipe=tuned for Hydra: the usual recipe, but with the best values of a search
STUDIES = "/"  # separates the studies' names: recipe=tuned/ONE/ANOTHER


@dataclass(frozen=True)
class Composed:
    """One job's config.

    config: plain dictionaries, lists and numbers, with every ``${…}`` resolved.
    notes: for the user: a recipe that is missing, or the values that recipe=tuned took.
    overrides: of this job. hydra: Hydra's own settings, where Hydra started it.
    """

    config: dict[str, Any]
    notes: list[str]
    overrides: Sequence[str] = ()
    hydra: Any = None


def job_from(cfg: DictConfig) -> Composed:
    """The job whose config Hydra has just composed. Raises `KronaError` for a missing value."""
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    overrides = [str(item) for item in hydra.overrides.task] if hydra is not None else []
    composed = _resolve(cfg, overrides=overrides, chosen=dict(hydra.runtime.choices) if hydra is not None else {})
    return replace(composed, hydra=hydra)


def _resolve(cfg: DictConfig, *, overrides: list[str], chosen: Mapping[str, Any]) -> Composed:
    try:
        missing = sorted(key for key in OmegaConf.missing_keys(cfg) if not key.startswith("hydra"))
        if missing:
            hints = {
                "backbone.path": " (a model's folder or GGUF file)",
                "data.path": " (GLUE's folder)",
                "optimizer.lr": " (as 1e-3)",
            }
            raise KronaError("; ".join(f"{key} must be given{hints.get(key, '')}: {key}=…" for key in missing))
        config = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise KronaError(str(error).splitlines()[0]) from error
    assert isinstance(config, dict)
    values = {str(key): value for key, value in config.items()}
    require_choices(chosen)
    if isinstance(values.get("backbone"), dict):
        resolve_pooling(values["backbone"])
    if is_overridden("method.kron_factors", overrides) and "method" in values:
        values["method"]["fit_factors"] = "exact"  # a shape given on the command line is never changed
    studies = next((item.split(STUDIES)[1:] for item in overrides if item.split(STUDIES)[0] == TUNED), None)
    tuned_asked = studies is not None
    notes = [take_tuned(values, overrides, studies or ())] if tuned_asked else recipe_notes(values, chosen, overrides)
    return Composed(config=values, notes=notes, overrides=overrides)


def take_tuned(config: dict[str, Any], overrides: list[str], studies: Sequence[str] = ()) -> str:
    """Set the best values of a search, except those that ``overrides`` set. Returns a note on their origin."""
    found = tuned.best(config, outputs=OUTPUTS, studies=studies)
    shape_set = is_overridden("factors", overrides) or is_overridden("method.kron_factors", overrides)
    for key, value in found.values.items():
        own = shape_set if key in tuned.GROUP_KEYS["factors"] else is_overridden(key, overrides)
        if key == "optimizer.lr" or not own:
            *parents, last = key.split(".")
            reduce(getitem, parents, config)[last] = value
    return found.note


def is_overridden(key: str, overrides: Sequence[str]) -> bool:
    """Whether one of a job's overrides sets ``key``."""
    return any(re.sub(r"^[+~]+", "", item).split("=", 1)[0].split("@")[0] == key for item in overrides)


def recipe_notes(config: dict[str, Any], chosen: Mapping[str, Any], overrides: list[str]) -> list[str]:
    """A note where there is no recipe for this method and task. Raises `KronaError` if the user asked for one."""
    recipe = chosen.get("recipe")
    if recipe is None or recipe in choices("recipe"):
        return []
    if is_overridden("recipe", overrides):
        there = ", ".join(choices("recipe"))
        raise KronaError(f"recipe={recipe}: there is no conf/recipe/{recipe}.yaml; there are: {there}")
    method, task = config.get("method", {}), config.get("task", {})
    if str(method.get("source", "")).startswith("Table") and task.get("hub_name") and not task.get("sample"):
        return []  # the method's own values are the table's row for this task
    lr = config.get("optimizer", {}).get("lr")
    return [f"no recipe {recipe}: the values of conf/method/{chosen.get('method')}.yaml, lr {lr}"]


class Composer:
    """Composes a sweep's jobs inside `hydra_session`; reads the files once for all jobs with the same choices."""

    def __init__(self) -> None:
        self._parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        self._groups = frozenset(groups())
        self._known: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}

    def job(self, overrides: Sequence[str]) -> Composed:
        """One job. Raises Hydra's errors, and `KronaError` for a missing value."""
        parsed = self._parser.parse_overrides(list(overrides))
        chosen = tuple(str(one.input_line) for one in parsed if self._chooses(one))
        if chosen not in self._known:
            require_names(parsed)
            self._known[chosen] = _from_files(chosen)
        shared, choices = self._known[chosen]
        cfg = copy.deepcopy(shared)
        apply_overrides(cfg, [one for one in parsed if not self._chooses(one)])
        lines = [str(one.input_line) for one in parsed if not one.is_hydra_override()]
        return _resolve(cfg, overrides=lines, chosen=choices)

    def _chooses(self, override: Override) -> bool:
        """Whether the override may change which files are read: a group's choice, a package, a setting of Hydra."""
        key = override.key_or_group
        return key in self._groups or "/" in key or override.package is not None or key.split(".")[0] == "hydra"


def _from_files(chosen: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """The config of these choices without Hydra's own part, and each group's choice."""
    cfg = compose("config", overrides=list(chosen), return_hydra_config=True)
    choices = {str(group): name for group, name in cfg.hydra.runtime.choices.items()}
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    OmegaConf.set_struct(cfg, True)
    return cfg, choices


@contextmanager
def hydra_session() -> Iterator[None]:
    """Hydra without ``@hydra.main``: composes from conf/, and restores Hydra's previous state at the end."""
    before, config_before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    put_aside_other_launchers()
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().clear()
        GlobalHydra.instance().hydra = before
        HydraConfig.instance().cfg = config_before


def help_text(config_name: str, overrides: Sequence[str]) -> str:
    """Return the help of train.py or bench.py, as Hydra's --help does, which first lists all groups of all plugins."""
    with hydra_session():
        cfg = compose(config_name, overrides=list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        return Template(cfg.hydra.help.template).safe_substitute() + "\n"


def compose_job(overrides: Sequence[str]) -> Composed:
    """One job; inside `hydra_session`."""
    return Composer().job(overrides)


def jobs_of(params: Mapping[str, Any], overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """The jobs of a multirun, as Hydra's own sweeper makes them: a sweep's axes (``params``), then ``overrides``."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    lines = [f"{key}={value}" for key, value in params.items()] + list(overrides)
    parsed = parser.parse_overrides(lines)
    count = prod(_length(one) for one in parsed if one.is_sweep_override())
    if count > MAX_RUNS:
        some = f"{count:,}" if count < COUNTED else f"more than {COUNTED:,}"
        raise KronaError(f"this sweep would be {some} runs; at most {MAX_RUNS:,} at once: narrow an axis")
    return sweep_jobs(parsed)


def _length(axis: Override) -> int:
    """The number of an axis's values, at most ``COUNTED``. Raises KronaError for an axis without any."""
    line = axis.input_line
    try:
        values = axis.sweep_iterator() if axis.is_sweep_override() else iter(())
        count = sum(1 for _ in islice(values, COUNTED))
    except ValueError as error:
        raise KronaError(f"{line}: {error}; range(START,STOP,STEP) counts from START to below STOP") from error
    except HydraException as error:
        raise KronaError(f"{line}: a sweep takes single values: {axis.key_or_group}=1,2,3 or range(0,3)") from error
    if count == 0:
        raise KronaError(
            f"{line}: this axis has no value, so the sweep has no run: glob(…) finds names of a group's files, and "
            "range(0,3) is 0, 1, 2"
        )
    return count


def expand(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """The jobs of ``python train.py -m OVERRIDES``; inside `hydra_session`."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    parsed = parser.parse_overrides(list(overrides))
    single = [str(one.input_line) for one in parsed if not one.is_sweep_override()]
    return jobs_of(axes_of(single), overrides)


def axes_of(overrides: Sequence[str]) -> dict[str, Any]:
    """The axes of a sweep's YAML (``hydra.sweeper.params``); inside `hydra_session`."""
    cfg = compose("config", overrides=list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return sweeper_params(cfg)


def sweeper_params(cfg: DictConfig) -> dict[str, Any]:
    """``hydra.sweeper.params`` of a composed config as plain values."""
    node = cfg.hydra.sweeper.params
    params = OmegaConf.to_container(node, resolve=True) if node else {}
    assert isinstance(params, dict)
    return {str(key): value for key, value in params.items()}


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain values, numbers as Hydra reads them (``1e-3``).

    Raises:
        KronaError: no such file, no YAML, or no keys and values.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, OmegaConfBaseException, YAMLError) as error:
        raise KronaError(f"{path} can't be read: {str(error).splitlines()[0]}") from error
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}
