"""Measure cost: python bench.py bench=training (latency, kronecker, pipeline, memory, serving, sweep)"""

import hydra
from omegaconf import DictConfig

from krona.cli import launch
from krona.cli.bench import bench


@hydra.main(version_base="1.3", config_path="conf", config_name="bench")
def main(cfg: DictConfig) -> None:
    bench(cfg)


if __name__ == "__main__":
    launch.launch(main, config_name="bench")
