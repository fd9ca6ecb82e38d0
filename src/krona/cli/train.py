"""One job of train.py, from its composed config to its result."""

import traceback
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from krona.config import check
from krona.config.compose import compose_job, composed, expand, hydra_session
from krona.jobs.job import WORDS, Job, identify
from krona.jobs.preflight import require
from krona.jobs.processes import quiet_libraries
from krona.jobs.run_job import run_job
from krona.jobs.summary import run_summary
from krona.messages import KronaError
from krona.paths import OUTPUTS, PROJECT
from krona.sweeps import ledger
from krona.training.ranks import my_rank


def job(cfg: DictConfig) -> Job:
    """What train.py does with one composed config: run it, and never raise for a failed job of a multirun."""
    quiet_libraries()
    hydra = HydraConfig.get()
    multirun = hydra.mode == RunMode.MULTIRUN
    console = Console(soft_wrap=True, quiet=my_rank() > 0)
    try:
        done = _run(cfg, console, multirun=multirun)
    except KronaError as error:
        if not multirun:
            raise SystemExit(str(error)) from error  # Hydra would print a line of its own before an exception
        done = _not_run(hydra.overrides.task, str(error))
    except Exception as error:  # a fault of ours: the other jobs go on all the same
        if not multirun:
            raise
        traceback.print_exc()
        done = _not_run(hydra.overrides.task, f"{type(error).__name__}: {error}")
    _tell(done, console, multirun=multirun)
    if multirun and my_rank() == 0:
        ledger.note_job(done, number=hydra.job.num, overrides=hydra.overrides.task)
    return done


def _run(cfg: DictConfig, console: Console, *, multirun: bool) -> Job:
    ledger.require_outputs()
    run = composed(cfg)
    return run_job(run.config, notes=run.notes, outputs=OUTPUTS, project=PROJECT, console=console, multirun=multirun)


def _not_run(overrides: Sequence[str], error: str) -> Job:
    """A multirun's job that came to no run."""
    return Job(run_id=" ".join(overrides) or "job", state="failed", folder=OUTPUTS, error=error)


def _tell(done: Job, console: Console, *, multirun: bool) -> None:
    """Say what became of a job; a single one that came to nothing ends the program by its error."""
    wrong = done.state in ("failed", "claimed_by_other")
    if done.state == "skipped":
        console.print(f"{done.run_id}: {'; '.join(done.messages)}", highlight=False, markup=False)
    if multirun:
        if wrong:
            console.print(f"  {WORDS[done.state]}: {done.error}", highlight=False, markup=False)
        return
    run_summary(done, console)
    if wrong:
        raise SystemExit(done.error)


def shown(arguments: Sequence[str]) -> str | None:
    """The job's values as YAML, its id and notes as comments; None where something else is asked for.

    A multirun's first job stands for all. ``arguments`` are prepared (`krona.config.overrides.prepared`).

    Raises:
        KronaError: what the run itself would say, but for what only the Hub can give.
    """
    asked = get_args_parser().parse_args(list(arguments))
    if asked.cfg != "job" or any((asked.help, asked.package, asked.config_name, asked.config_path, asked.config_dir)):
        return None
    with hydra_session():
        jobs = expand(asked.overrides) if asked.multirun else [tuple(asked.overrides)]
        composed = compose_job(jobs[0])
    settings = check.settings(composed.config)
    used, notes = require(settings, from_hub=False)
    comments = [identify(settings), *composed.notes, *notes]
    if len(jobs) > 1:
        comments.insert(0, f"the first of {len(jobs):,} runs: {' '.join(jobs[0])}")
    text: str = OmegaConf.to_yaml(OmegaConf.create(dict(composed.config)))
    typed, here = composed.config["method"].get("kron_factors"), used.get("kron_factors")
    if here != typed:
        text = text.replace("\n  kron_factors:\n", f"\n  kron_factors:  # on this backbone {here}\n", 1)
    return "".join(f"# {line}\n" for line in comments) + text
