"""Start one small run with the nano backbone on a few rows of a sample task, and read its .wandb files."""

import json
import subprocess
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


def read_wandb(path: Path, *, summary: bool = False) -> Any:
    """Return the records of a .wandb file, or its summary."""
    from wandb.util import get_core_path  # not imported by tests of other loggers

    # the program that `wandb leet inspect --json FILE` starts
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
    command += [*(["--summary"] if summary else []), "--run-file", str(path), str(path.parent.parent)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout) if summary else [json.loads(line) for line in done.stdout.splitlines()]


def history_of(path: Path) -> list[dict[str, Any]]:
    rows = [record["history"]["item"] for record in read_wandb(path) if record["type"] == "history"]
    return [row for row in rows if "dev/score" in row]  # rows of epochs, without those of the loss of steps
