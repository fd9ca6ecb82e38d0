"""One run, or with -m many: python train.py method=krona task=rte"""

import hydra
from omegaconf import DictConfig

from krona.cli import launch
from krona.cli.train import job, shown
from krona.jobs.job import Job


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> Job:
    return job(cfg)


if __name__ == "__main__":
    launch.launch(main, shown=shown)
