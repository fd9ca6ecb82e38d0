"""The jobs of train.py: run one, or show its config (--cfg job)."""

import traceback
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from krona.cli import launch
from krona.config.compose import build_job, compose_job, hydra_session, runs_folder
from krona.config.multirun import expand
from krona.jobs.library_warnings import quiet_libraries
from krona.messages import KronaError
from krona.paths import CONF, OUTPUTS
from krona.screen import inert, say

if TYPE_CHECKING:  # torch, which --help does without
    from krona.jobs.job import Job


def train() -> NoReturn:
    """`krona train`: what train.py does, with ``sys.argv``'s overrides."""
    launch.launch(hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job), shown=shown)


def job(cfg: DictConfig) -> "Job":
    """Run one job. A failed job of a multirun is recorded, not raised: the other jobs continue."""
    from krona.sweeps import ledger
    from krona.training.ranks import my_rank

    quiet_libraries()
    composed = HydraConfig.get()
    multirun = composed.mode == RunMode.MULTIRUN
    console = Console(soft_wrap=True, quiet=my_rank() > 0)
    try:
        done = _run(cfg, console, multirun=multirun)
    except KronaError as error:
        if not multirun:
            raise SystemExit(str(error)) from error  # Hydra would print a line of its own before an exception
        done = _failed(composed.overrides.task, str(error))
    except Exception as error:  # a bug of krona: the other jobs continue
        if not multirun:
            raise
        traceback.print_exc()
        done = _failed(composed.overrides.task, f"{type(error).__name__}: {error}")
    _report(done, console, multirun=multirun)
    if multirun and my_rank() == 0:
        ledger.note_job(done, number=composed.job.num, overrides=composed.overrides.task)
    return done


def _run(cfg: DictConfig, console: Console, *, multirun: bool) -> "Job":
    from krona.jobs.job import JobSpec
    from krona.jobs.run_job import run_job
    from krona.sweeps import ledger

    ledger.require_outputs()
    run, outputs = build_job(cfg), runs_folder(HydraConfig.get(), multirun=multirun)
    counted = ledger.progress() if multirun else None
    spec = JobSpec(
        config=run.config,
        outputs=outputs,
        notes=run.notes,
        multirun=multirun,
        position="" if counted is None else f"{counted.started + 1}/{counted.total}",
        record=run.record(),
    )
    return run_job(spec, console)


def _failed(overrides: Sequence[str], error: str) -> "Job":
    """A job of a multirun that failed before it had a run id."""
    from krona.jobs.job import Job

    return Job(run_id=" ".join(overrides) or "job", state="failed", folder=OUTPUTS, error=error)


def _report(done: "Job", console: Console, *, multirun: bool) -> None:
    """Print a job's outcome. Raises `SystemExit` if a single run failed."""
    from krona.jobs.job import WORDS
    from krona.jobs.summary import run_summary
    from krona.sweeps import ledger

    wrong = done.state in ("failed", "claimed_by_other")
    counted = ledger.progress() if multirun else None
    if counted is not None:
        say(console, counted.end_line(done))
        return
    if done.state == "skipped":
        console.print(inert(f"{done.run_id}: {'; '.join(done.messages)}"), highlight=False, markup=False)
    if multirun:
        if wrong:
            say(console, f"  {WORDS[done.state]}: {done.error}")
        return
    run_summary(done, console)
    if wrong:
        raise SystemExit(done.error)


def shown(options: Namespace) -> str | None:
    """The text of ``--cfg job``: the values as YAML, with run id and notes as comments; None without that option.

    Of a multirun, the first job. The options' overrides are normalised (`krona.config.overrides.normalised`).

    Raises:
        KronaError: the error that the run would raise, except those that need the Hub.
    """
    if options.cfg != "job" or any((options.help, options.package, options.config_name, options.config_path)):
        return None
    from krona.config import check
    from krona.jobs.job import identify
    from krona.jobs.preflight import require

    with hydra_session():
        jobs = expand(options.overrides) if options.multirun else [tuple(options.overrides)]
        job = compose_job(jobs[0])
    settings = check.settings(job.config, own=True)
    used, notes = require(settings, from_hub=False)
    comments = [identify(settings), *job.notes, *notes]
    if len(jobs) > 1:
        comments.insert(0, f"the first of {len(jobs):,} runs: {' '.join(jobs[0])}")
    text: str = OmegaConf.to_yaml(OmegaConf.create(job.config))
    given, here = job.config["method"].get("kron_factors"), used.get("kron_factors")
    if here != given:
        text = text.replace("\n  kron_factors:\n", f"\n  kron_factors:  # on this backbone {here}\n", 1)
    return "".join(f"# {line}\n" for line in comments) + text
