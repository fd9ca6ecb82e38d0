"""Start short runs as the command line starts its jobs, with a tiny backbone on files in GLUE's layout."""

import io
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from rich.console import Console

from krona.config.compose import Composed, compose_job, hydra_session
from krona.config.overrides import expand
from krona.runs.folder import RunState
from krona.runs.processes import Interrupted
from krona.training.plan import plan_run
from krona.training.run_job import run_job
from tasks import glue_files

SMALL = ["batch_size=4", "max_source_length=24", "optimizer.warmup_steps=2", "optimizer.lr=3e-2"]
SMALL += ["trainer.max_epochs=3", "trainer.threads=1"]


def typed(backbone: Path, data: Path) -> list[str]:
    """Return the overrides of a small run. Write the data if it does not exist."""
    if not data.exists():
        glue_files.write(data, "rte", train=12, dev=9)
    return ["backbone=local", f"backbone.path={backbone}", "data=tsv", f"data.path={data}", *SMALL]


def config(*overrides: str) -> dict[str, Any]:
    with hydra_session():
        return compose_job(overrides).config


def compose_all(overrides: list[str]) -> list[dict[str, Any]]:
    """Return the composed config of each job of a multirun."""
    with hydra_session():
        return [compose_job(job).config for job in expand(overrides)]


def run(
    values: dict[str, Any],
    outputs: Path,
    *,
    multirun: bool = False,
    shows_notes: bool = True,
    after_epoch: Any = None,
    hydra_files: Mapping[str, str] = MappingProxyType({}),
    **terminal: Any,
) -> tuple[RunState, str]:
    """Run a composed config. Return its outcome and its output."""
    console = Console(**{"file": io.StringIO(), "width": 200, **terminal})
    options: Any = {"multirun": multirun, "shows_notes": shows_notes, "after_epoch": after_epoch}
    plan = replace(plan_run(Composed(values), outputs), hydra_files=hydra_files, **options)
    job = run_job(plan, console)
    return job, console.file.getvalue()


def finish(outputs: Path, *overrides: str) -> tuple[RunState, str]:
    """Run a config that must finish. Return its outcome and its output."""
    job, said = run(config(*overrides), outputs)
    assert job.state in ("done", "done already"), said
    return job, said


def interrupt_after(epoch: int) -> Callable[[Any], None]:
    """Return a function for ``after_epoch`` that interrupts a run directly after the checkpoint of an epoch."""

    def stop(learner: Any) -> None:
        if len(learner.dev_curve) == epoch:
            raise Interrupted

    return stop


def finish_after_interrupt(epoch: int, outputs: Path, *overrides: str) -> tuple[RunState, str]:
    """Interrupt a run directly after the checkpoint of an epoch, and resume it. Return its outcome and its output."""
    with pytest.raises(Interrupted):
        run(config(*overrides), outputs, after_epoch=interrupt_after(epoch))
    return finish(outputs, *overrides)


def same_files(folder: Path, other: Path) -> bool:
    """Return whether two runs have the same bytes in their adapters and predictions."""
    names = ("adapter.safetensors", "predictions.jsonl")
    return all((folder / name).read_bytes() == (other / name).read_bytes() for name in names)


def run_in_a_process(values: dict[str, Any], outputs: str, kill: tuple[str, int] | None) -> None:
    """Run in this process, and kill it at a place and its number.

    The places are the start of a step ("step", 5), the initial values of a branch ("prepare", 2), and a write
    ("write", 7) or the time after it ("written", 7).
    """
    if kill is not None:
        kill_at(*kill)
    run(values, Path(outputs))


def take_part(jobs: list[dict[str, Any]], outputs: str, together: Any, answers: Any) -> None:
    """Run the jobs of a sweep that no other process runs, with all processes at the same time. Send the outcomes."""
    together.wait()
    answers.put([run(values, Path(outputs), multirun=True)[0].state for values in jobs])


def kill_at(place: str, number: int) -> None:
    """Kill this process in the n-th call of a function: before the function, or after it has "written"."""
    from krona.methods.lora import LoRA
    from krona.training.learner import Learner

    functions: dict[str, tuple[Any, str]] = {"step": (Learner, "on_train_batch_start"), "prepare": (LoRA, "prepare")}
    functions |= {"write": (os, "fsync"), "written": (Path, "replace")}
    owner, name = functions[place]
    real, calls = getattr(owner, name), count(1)

    def call(*arguments: Any) -> Any:
        now = next(calls) == number
        if now and place != "written":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, call)
