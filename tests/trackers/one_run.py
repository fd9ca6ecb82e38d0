"""Start one small run in this process, with the nano backbone and a few rows of a sample task."""

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from rich.console import Console

from krona.config.compose import build_job
from krona.jobs.job import Job, JobSpec
from krona.jobs.library_warnings import quiet_libraries
from krona.jobs.run_job import run_job
from krona.paths import CONF

SMALL = ["profile=demo", "method=krona", "task=sample_sst2", "data.train_rows=32", "batch_size=16"]
SMALL += ["trainer.max_epochs=2", "trainer.threads=1", "optimizer.warmup_steps=0"]


def config(*overrides: str) -> dict[str, Any]:
    """Return the config that train.py would compose from these overrides, as plain values."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build_job(compose("config", overrides=[*SMALL, *overrides])).config


def one_run(outputs: Path, *overrides: str, after_epoch: Any = None) -> tuple[Job, list[str]]:
    """Run a job. Return the job and its lines of output."""
    quiet_libraries()
    with (outputs / "console.txt").open("a+", encoding="utf-8") as file:
        start = file.tell()
        console = Console(file=file, width=160)
        job = run_job(JobSpec(config=config(*overrides), outputs=outputs), console, after_epoch)
        file.seek(start)
        return job, file.read().splitlines()
