"""Compose, check and name the jobs of a command from the words that a user types after `python train.py`."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from krona import KronaError
from krona.cli.train import render_config
from krona.config import check as checks
from krona.config.choices import choices as choices
from krona.config.compose import Composed, compose_job, hydra_session
from krona.config.hydra_interface import option_parser
from krona.config.overrides import expand_command
from krona.config.overrides import normalize as normalize
from krona.config.settings import RunSettings
from krona.training.plan import plan_run


def compose(*words: str) -> Composed:
    """Return the config of one job, and the notes about it."""
    with hydra_session():
        return compose_job(normalize(words))


def compose_all(*words: str) -> list[Composed]:
    """Return the config of each job of a multirun (-m)."""
    jobs = expand_command(words)
    with hydra_session():
        return [compose_job(job) for job in jobs]


def check(config: Mapping[str, Any]) -> RunSettings:
    """Return the settings of a config that comes from the user's own command and conf/."""
    return checks.settings(config, own=True)


def settings(*words: str) -> RunSettings:
    return check(compose(*words).config)


def run_id(*words: str) -> str:
    return plan_run(compose(*words), Path(), starts=False).run_id


def parse(*words: str) -> Namespace:
    """Return the options of a command, with its overrides."""
    return option_parser().parse_args(normalize(words))


def render(*words: str) -> str:
    """Return what `--cfg job` prints."""
    return render_config(parse(*words, "--cfg", "job"))


def refusal(*words: str) -> str:
    """Return the message for a command whose config is wrong."""
    with pytest.raises(KronaError) as caught:
        settings(*words)
    return str(caught.value)
