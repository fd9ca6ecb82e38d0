"""A sweep's jobs composed one after another: the groups that they choose once, the values that they set in a copy.

Hydra takes some 70 ms to put a config together from its files. Jobs that differ in a seed or a rate choose the same
files: theirs is put together once, and their values are set in a copy by the code that Hydra itself ends with.
"""

import copy
from collections.abc import Sequence

from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from krona.compose import Composed, groups, plain


class Composer:
    """Composes jobs inside `krona.sweeping.sweeps.hydra_session`; one instance for the jobs of one sweep."""

    def __init__(self) -> None:
        self._parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        self._groups = frozenset(groups())
        self._known: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}

    def job(self, overrides: Sequence[str]) -> Composed:
        """One job's plain values. Raises as Hydra does, and `KronaError` as `krona.compose.plain` does."""
        parsed = self._parser.parse_overrides(list(overrides))
        chosen = tuple(str(one.input_line) for one in parsed if self._chooses(one))
        if chosen not in self._known:
            self._known[chosen] = _from_files(chosen)
        shared, choices = self._known[chosen]
        cfg = copy.deepcopy(shared)
        ConfigLoaderImpl._apply_overrides_to_config([one for one in parsed if not self._chooses(one)], cfg)
        return plain(
            cfg, overrides=[str(one.input_line) for one in parsed if not one.is_hydra_override()], chosen=choices
        )

    def _chooses(self, override: Override) -> bool:
        """Whether it may say which files are read: a group's choice, a package, or a setting of Hydra's own."""
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
