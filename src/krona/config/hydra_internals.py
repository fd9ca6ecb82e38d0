"""Wrap private functions of Hydra. If a new version of Hydra changes them, only this file must be adapted."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from krona.messages import KronaError


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
