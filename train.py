"""One run, or with -m many: python train.py method=krona task=rte"""

import hydra
from omegaconf import DictConfig

from krona import entry
from krona.jobs import Job
from krona.resolved import shown


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> Job:
    return entry.job(cfg)


if __name__ == "__main__":
    entry.launch(main, shown=shown)
