"""Time the training step of the methods: python bench.py bench=training"""

from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from krona.cli.train import exit_codes, read_options


@hydra.main(version_base="1.3", config_path="conf", config_name="bench")
def main(cfg: DictConfig) -> None:
    """Run a benchmark, and print and write its results."""
    from rich.console import Console

    from benchmarks.run import run_bench
    from krona.config.choices import choices
    from krona.messages import KronaError
    from krona.paths import OUTPUTS

    config: Any = OmegaConf.to_container(cfg.bench, resolve=True)

    def compose(overrides: list[str]) -> dict[str, Any]:
        values: Any = OmegaConf.to_container(hydra.compose("config", overrides=overrides), resolve=False)
        return {str(key): value for key, value in values.items()}

    console = Console(soft_wrap=True)
    console = console if console.is_terminal else Console(soft_wrap=True, width=180)  # wide enough for a table
    try:
        run_bench(config, compose=compose, methods=choices("method"), outputs=OUTPUTS, console=console)
    except KronaError as error:
        raise SystemExit(str(error)) from error  # Hydra would print its own line before an exception


if __name__ == "__main__":
    with exit_codes():
        if read_options("bench").dry_run:
            raise SystemExit("--dry-run is an option of train.py and of krona table.")
        main()
