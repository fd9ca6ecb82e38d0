"""Start one run, or several runs with -m: python train.py method=krona task=rte"""

from typing import Any

import hydra
from omegaconf import DictConfig

from krona.cli import launch
from krona.cli.train import job, render_config


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> Any:
    return job(cfg)


if __name__ == "__main__":
    launch.launch(main, render=render_config)
