"""Start one small run in this process, with the nano backbone and a few rows of a sample task."""

from pathlib import Path
from typing import Any

from krona.runs.folder import RunState
from one_job import config as compose
from one_job import run

SMALL = ["profile=demo", "method=krona", "task=sample_sst2", "data.train_rows=32", "batch_size=16"]
SMALL += ["trainer.max_epochs=2", "trainer.threads=1", "optimizer.warmup_steps=0"]


def config(*overrides: str) -> dict[str, Any]:
    return compose(*SMALL, *overrides)


def one_run(outputs: Path, *overrides: str, after_epoch: Any = None) -> tuple[RunState, list[str]]:
    """Run a job. Return the job and its lines of output."""
    job, said = run(config(*overrides), outputs, after_epoch=after_epoch)
    return job, said.splitlines()
