"""The job of bench.py: from its composed config to a measurement on screen and disk."""

from typing import Any, NoReturn

import hydra
from hydra import compose
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from krona.bench.entry import run_bench
from krona.cli import launch
from krona.config.choices import choices
from krona.jobs.processes import quiet_libraries
from krona.messages import KronaError
from krona.paths import CONF, OUTPUTS, PROJECT


def start() -> NoReturn:
    """`krona bench`: what bench.py does, with ``sys.argv``'s overrides."""
    launch.launch(
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="bench")(bench), config_name="bench"
    )


def bench(cfg: DictConfig) -> None:
    """What bench.py does with its config: measure, print, write and draw."""
    quiet_libraries()
    config: Any = OmegaConf.to_container(cfg.bench, resolve=True)

    def plain(overrides: list[str]) -> dict[str, Any]:
        values: Any = OmegaConf.to_container(compose("config", overrides=overrides), resolve=False)
        return {str(key): value for key, value in values.items()}

    console = Console(soft_wrap=True)
    console = console if console.is_terminal else Console(soft_wrap=True, width=180)  # a table whole in a file
    try:
        run_bench(config, compose=plain, methods=choices("method"), outputs=OUTPUTS, project=PROJECT, console=console)
    except KronaError as error:
        raise SystemExit(str(error)) from error  # Hydra would print a line of its own before an exception
