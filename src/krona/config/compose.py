"""Compose the config of each job with Hydra, from conf/ and command-line overrides, and resolve its values."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Any
from weakref import WeakKeyDictionary

from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from krona.config.choices import groups, require_names
from krona.config.derived_values import set_derived_values
from krona.config.hydra_interface import ConfReader, apply_overrides, translate_errors
from krona.messages import KronaError
from krona.paths import CONF, OUTPUTS
from krona.secrets_in_text import is_secret, mask_secrets

SERVICES = ("logger", "callbacks")  # sections in which any environment variable may be a secret
VARIABLE = re.compile(r"\$\{oc\.env:\s*(\w+)")
Read = dict[tuple[str, ...], tuple[DictConfig, dict[str, str | None]]]  # composed configs by choices
_READ: WeakKeyDictionary[object, tuple[ConfReader, Read]] = WeakKeyDictionary()  # by instance of Hydra
EXAMPLES = {"backbone.path": " (a model's folder)", "data.path": " (GLUE's folder)"}


@dataclass(frozen=True)
class Composed:
    """The config of one job."""

    config: dict[str, Any]  # plain values, with every ``${…}`` resolved
    notes: list[str] = field(default_factory=list)  # messages for the user, such as the origin of the learning rate
    search: Mapping[str, Any] | None = None  # the search that chose the settings (`krona.runs.result.Search`)
    overrides: Sequence[str] = ()
    hydra: HydraConf | None = None  # Hydra's own settings; None if Hydra did not start the job
    stored: dict[str, Any] = field(default_factory=dict)  # a copy of the config without secrets, for files

    def hydra_files(self) -> dict[str, str]:
        """Return the contents of the files in a run's ``.hydra/`` folder, by file name."""
        contents: dict[str, Any] = {"config.yaml": self.stored, "overrides.yaml": list(self.overrides)}
        if self.hydra is not None:
            contents["hydra.yaml"] = {"hydra": OmegaConf.to_container(self.hydra, resolve=False)}
        return {name: OmegaConf.to_yaml(OmegaConf.create(mask_secrets(section))) for name, section in contents.items()}


def build_job(cfg: DictConfig) -> Composed:
    """Convert Hydra's composed config to a `Composed`.

    Raises:
        KronaError: a required key has no value, an interpolation fails, a chosen file does not exist or is a list, or
            `set_derived_values` raises an error.
    """
    hydra = HydraConfig.get()
    overrides = task_overrides(hydra)
    return replace(_resolve(cfg, overrides=overrides, chosen=dict(hydra.runtime.choices)), hydra=hydra)


def task_overrides(hydra: HydraConf) -> list[str]:
    """Return the overrides of a job or of a multirun as written, without the values of environment variables."""
    overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return [str(item) for item in overrides]


@translate_errors()
def compose_job(overrides: Sequence[str]) -> Composed:
    """Compose one job from its overrides. Call this function only while Hydra is initialised.

    Until Hydra is initialised again, the files of conf/ are read once for all jobs that choose the same files.

    Raises:
        KronaError: Hydra rejects an override, or an error as in `build_job`.
    """
    parsed, known = parser().parse_overrides(list(overrides)), groups()
    choices = [override for override in parsed if _is_choice(override, known)]
    session = GlobalHydra.instance().hydra
    assert session is not None
    if session not in _READ:
        _READ[session] = (ConfReader(), {})
    reader, read = _READ[session]
    lines = tuple(str(override.input_line) for override in choices)
    if lines not in read:
        require_names(parsed)
        read[lines] = reader.compose(choices)
    shared, names = read[lines]
    cfg = copy.deepcopy(shared)
    apply_overrides(cfg, [override for override in parsed if override not in choices])
    typed = [str(override.input_line) for override in parsed if not override.is_hydra_override()]
    return _resolve(cfg, overrides=typed, chosen=names)


def _is_choice(override: Override, known: Sequence[str]) -> bool:
    """Return whether the override can change which config files are read."""
    key = override.key_or_group
    return key in known or "/" in key or override.package is not None or key.split(".")[0] == "hydra"


def _resolve(cfg: DictConfig, *, overrides: list[str], chosen: Mapping[str, Any]) -> Composed:
    """Resolve a composed config to plain values, and set the derived values."""
    for group, name in chosen.items():
        if OmegaConf.is_list(cfg.get(group)):
            raise KronaError(f"conf/{group}/{name}.yaml is a list, but it must have keys and values.")
    try:
        if missing := sorted(key for key in OmegaConf.missing_keys(cfg) if not key.startswith("hydra")):
            raise KronaError("; ".join(f"{key} must be given{EXAMPLES.get(key, '')}: {key}=…" for key in missing))
        config: Any = OmegaConf.to_container(cfg, resolve=True)
        written: Any = OmegaConf.to_container(cfg, resolve=False)
    except OmegaConfBaseException as error:
        raise KronaError(str(error).splitlines()[0]) from error
    notes, search = set_derived_values(config, overrides, chosen)
    stored = {name: _as_written(value, written.get(name), service=name in SERVICES) for name, value in config.items()}
    return Composed(config=config, notes=notes, search=search, overrides=overrides, stored=mask_secrets(stored))


def _as_written(value: object, written: object, *, service: bool) -> Any:
    """Return a value with the interpolations of environment variables (``${oc.env:KEY}``) instead of their values.

    Outside of a service, only a variable whose name indicates a secret is kept as written. Reports and later commands
    need the other values, such as a learning rate or a folder.
    """
    if isinstance(written, str):
        variables = VARIABLE.findall(written)
        return written if variables and (service or any(map(is_secret, variables))) else value
    if isinstance(value, dict) and isinstance(written, dict):
        return {key: _as_written(item, written.get(key), service=service) for key, item in value.items()}
    if isinstance(value, list) and isinstance(written, list):
        return [_as_written(*pair, service=service) for pair in zip(value, written, strict=True)]
    return value


@contextmanager
def hydra_session() -> Iterator[None]:
    """Initialise Hydra without ``@hydra.main``, to compose configs from conf/. Restore the previous state on exit."""
    before, config_before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().clear()
        GlobalHydra.instance().hydra = before
        HydraConfig.instance().cfg = config_before


def parser() -> OverridesParser:
    """Return a parser of overrides that knows the choices of each group. Call this inside `hydra_session` only."""
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())


def compose_with_hydra(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Return a config that includes Hydra's own section, ``hydra``. Call this inside `hydra_session` only."""
    cfg = compose(config_name, overrides=list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return cfg


def help_text(config_name: str, overrides: Sequence[str]) -> str:
    """Return the help text of train.py or bench.py without the plugin groups that Hydra would list first."""
    with hydra_session():
        template = compose_with_hydra(config_name, overrides).hydra.help.template
        return Template(template).safe_substitute() + "\n"


def runs_folder(hydra: HydraConf, *, multirun: bool) -> Path:
    """Return the folder that contains the run folders: ``hydra.run.dir``, or ``hydra.sweep.dir`` in a multirun."""
    folder = Path(str(hydra.runtime.cwd)) / str(hydra.sweep.dir if multirun else hydra.run.dir)
    return OUTPUTS if multirun and folder == OUTPUTS / "sweeps" else folder
