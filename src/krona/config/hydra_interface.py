"""Wrap private functions of Hydra, and convert its errors to the messages of krona.

If a new version of Hydra changes these functions, only this file must be adapted.
"""

import copy
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import get_args_parser
from hydra.core.default_element import GroupDefault, InputDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from krona.config.choices import groups, unknown_choice
from krona.messages import KronaError, first_line, unknown_key

WRONG_INPUT = (KronaError, HydraException, OmegaConfBaseException, yaml.YAMLError)  # user errors, without a stack trace


@contextmanager
def translate_errors() -> Iterator[None]:
    """Convert an error of Hydra, OmegaConf or YAML to a `KronaError` with the message from `explain`.

    The functions that call Hydra (`normalize`, `compose_job` and `expand`) have this function as a decorator.
    """
    try:
        yield
    except KronaError:
        raise
    except WRONG_INPUT as error:
        raise KronaError(explain(error)) from error


def explain(error: Exception) -> str:
    """Return the message of a command-line error: a `KronaError`'s message, or the first line of Hydra's message."""
    # A resolver raises `KronaError`, from which OmegaConf and Hydra raise their own errors.
    origin: BaseException = error
    while origin.__cause__ is not None and not isinstance(origin, KronaError):
        origin = origin.__cause__
    if isinstance(origin, KronaError):
        return str(origin)
    if isinstance(error, yaml.YAMLError):  # the message contains the file, the line and the column
        return f"A YAML file cannot be read: {' '.join(str(error).split())}"
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename} cannot be used: {error.strerror}. The folder of the results (KRONA_OUTPUTS, "
            "hydra.run.dir or hydra.sweep.dir) must be writable."
        )
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file).partition("/")
        if group in groups():  # the choice is named by a file, such as an experiment
            return unknown_choice(group, name)
    line = first_line(error)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read: {line}. Write KEY=VALUE, lists as [[32,24],[24,32]], and texts with "
            "commas, brackets, quotes or other signs as \"KEY='TEXT'\"."
        )
    cause = error.__cause__ or error
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        config = {str(key): value for key, value in cause.parent_node.items_ex(resolve=False) if key != "hydra"}
        key = str(cause.full_key)
        line = unknown_key(key, config)
        return f"{line}{'' if line.endswith('?') else '.'} To add a key that no YAML file sets, write +{key}=VALUE."
    if isinstance(cause, OmegaConfBaseException) and cause is not error:
        line += f": {first_line(cause)}"
    return line


class _OptionParser(ArgumentParser):
    """An argument parser that raises `KronaError` for wrong arguments, instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise KronaError(f"{message[:1].upper()}{message[1:]}.")


def option_parser() -> ArgumentParser:
    """Return the parser of Hydra's own options, such as --multirun and --cfg, and of --dry-run.

    The parser raises `KronaError` for wrong options.
    """
    parser = _OptionParser(add_help=False, allow_abbrev=False, parents=[get_args_parser()])
    parser.add_argument("--dry-run", action="store_true")
    return parser


class ConfReader(ConfigRepository):
    """Composes choices of conf/ as Hydra does, but without Hydra's own section. Each file is read once."""

    def __init__(self) -> None:
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        self.loader = loader
        self.sources = loader._parse_overrides_and_create_caching_repo("config", [])[1].get_sources()
        self.files: dict[str, ConfigResult | None] = {}
        self.copies: dict[str, ConfigResult | None] = {}  # Hydra changes the files of a config while it merges them

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self.files:
            self.files[config_path] = super().load_config(config_path)
        if config_path not in self.copies:
            self.copies[config_path] = copy.deepcopy(self.files[config_path])
        return self.copies[config_path]

    def _create_defaults_list(self, config_path: str, defaults: ListConfig) -> list[InputDefault]:
        items = super()._create_defaults_list(config_path, defaults)
        return [
            item
            for item in items
            if not (isinstance(item, GroupDefault) and str(item.group).removeprefix("/").startswith("hydra/"))
        ]

    def compose(self, choices: Sequence[Override]) -> tuple[DictConfig, dict[str, str | None]]:
        """Return the config of these choices, and the chosen names by group."""
        own = [override for override in choices if not override.is_hydra_override()]
        self.loader.validate_sweep_overrides_legal(own, RunMode.RUN, from_shell=False)
        self.copies.clear()
        found = create_defaults_list(self, "config", own, prepend_hydra=False, skip_missing=False)
        config = self.loader._compose_config_from_defaults_list(found.defaults, self)
        config.pop("hydra")
        OmegaConf.set_struct(config, True)
        apply_overrides(config, found.config_overrides)
        return config, found.overrides.known_choices


def apply_overrides(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Apply overrides to a composed config, as Hydra does."""
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def split_jobs(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """Return the overrides of each multirun job, in the order of Hydra's own sweeper."""
    (batch,) = BasicSweeper.split_arguments(list(overrides), None)
    return [tuple(job) for job in batch]


def completions(incomplete: str) -> list[str]:
    """Return the possible overrides that begin with ``incomplete``. Call this inside `compose.hydra_session` only."""
    words = BashCompletion(GlobalHydra.instance().config_loader())._query("config", incomplete)
    return [str(line) for line in words]
