"""Hydra's callback around a multirun: each job leaves a line, and one table and an exit code come at the end.

A line a job in a file, not in memory, because jobs may run in other processes and on other machines.
"""

import json
import os
import uuid
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import OmegaConf
from rich.console import Console

from krona import sweeps
from krona.errors import KronaError
from krona.jobs import Job
from krona.results import read_result
from krona.summary import sweep_table

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
VARIABLE = "KRONA_LEDGER"  # where this multirun's lines go; inherited by the processes that it starts


def note_job(job: Job) -> None:
    """Add a job's line to the ledger of the multirun that it belongs to, if it does."""
    path = os.environ.get(VARIABLE)
    if path is None:
        return
    line = json.dumps({"run_id": job.run_id, "state": job.state, "error": job.error, "folder": str(job.folder)})
    with open(path, "a", encoding="utf-8") as file:  # one short write with O_APPEND: whole lines from every process
        file.write(line + "\n")


class Ledger(Callback):
    """Opens the ledger before the first job and closes it after the last."""

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[VARIABLE] = str(folder / f"jobs-{uuid.uuid4().hex[:8]}.jsonl")
        overrides = list(config.hydra.overrides.task)
        if config.hydra.sweeper._target_ == BASIC_SWEEPER:
            node = config.hydra.sweeper.params
            params = OmegaConf.to_container(node, resolve=True) if node else {}
            assert isinstance(params, dict)
            try:
                jobs = sweeps.jobs_of({str(key): value for key, value in params.items()}, overrides)
            except KronaError as error:
                raise SystemExit(str(error)) from error  # an Exception would only be a warning to Hydra
            Console().print(f"{len(jobs):,} runs", highlight=False)
        if config.sweep is not None:
            sweeps.remember(folder, config.sweep, overrides)

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        path = Path(os.environ.pop(VARIABLE))
        if not path.exists():
            return
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        path.unlink()
        jobs = [
            Job(
                run_id=line["run_id"],
                state=line["state"],
                folder=Path(line["folder"]),
                error=line["error"],
                result=read_result(Path(line["folder"]) / "result.json")
                if (Path(line["folder"]) / "result.json").is_file()
                else None,
            )
            for line in lines
        ]
        sweep_table(jobs, Console())
        if any(job.state == "failed" for job in jobs):
            raise SystemExit(1)
