"""A run of seconds: a tiny backbone on GLUE's file layout, through the same door as the command line's jobs."""

import io
import os
import signal
from pathlib import Path
from typing import Any

from rich.console import Console

from krona.config.compose import compose_job, hydra_session
from krona.config.multirun import expand
from krona.jobs.job import Job, JobSpec
from krona.jobs.library_warnings import quiet_libraries
from krona.jobs.run_job import run_job
from tasks import glue_files

SMALL = [
    "batch_size=4",
    "max_source_length=24",
    "optimizer.warmup_steps=2",
    "optimizer.lr=3e-2",
    "trainer.max_epochs=3",
    "trainer.threads=1",
]


def typed(backbone: Path, data: Path) -> list[str]:
    """The overrides of a small run; the data is written where it is not there yet."""
    if not data.exists():
        glue_files.write(data, "rte", train=12, dev=9)
    return ["backbone=local", f"backbone.path={backbone}", "data=tsv", f"data.path={data}", *SMALL]


def config(*overrides: str) -> dict[str, Any]:
    with hydra_session():
        return compose_job(overrides).config


def compose_all(overrides: list[str]) -> list[dict[str, Any]]:
    """The composed config of each job of a multirun."""
    with hydra_session():
        return [compose_job(job).config for job in expand(overrides)]


def run(values: dict[str, Any], outputs: Path, *, multirun: bool = False) -> tuple[Job, str]:
    """Run a composed config; what became of it and what it said."""
    quiet_libraries()
    said = io.StringIO()
    job = run_job(JobSpec(config=values, outputs=outputs, multirun=multirun), Console(file=said, width=200))
    return job, said.getvalue()


def run_in_a_process(values: dict[str, Any], outputs: str, kill: tuple[str, int] | None) -> None:
    """For a process of its own: run, and be killed on the way where ``kill`` says so.

    ("step", 4): as step 4 begins; ("write", 7): in the middle of the 7th file; ("written", 7): right after it.
    """
    if kill is not None:
        _kill_at(*kill)
    run(values, Path(outputs))


def take_part(jobs: list[dict[str, Any]], outputs: str, together: Any, said: Any) -> None:
    """For a process of its own: begin with the others, and do of a sweep's jobs what nobody does; say what became."""
    together.wait()
    said.put([run(values, Path(outputs), multirun=True)[0].state for values in jobs])


def _kill_at(what: str, number: int) -> None:
    from krona.training.learner import Learner

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    count = 0
    if what == "step":
        begin = Learner.on_train_batch_start

        def begin_or_die(self: Learner, batch: Any, batch_idx: int) -> None:
            begin(self, batch, batch_idx)
            if self.global_step == number:
                die()

        Learner.on_train_batch_start = begin_or_die  # type: ignore[method-assign]
        return
    name = {"write": "fsync", "written": "replace"}[what]
    real = os.fsync if name == "fsync" else Path.replace

    def counted(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if what == "write" and count == number:
            die()
        done = real(*arguments)  # type: ignore[operator]
        if what == "written" and count == number:
            die()
        return done

    if name == "fsync":
        os.fsync = counted
    else:
        Path.replace = counted  # type: ignore[method-assign]
