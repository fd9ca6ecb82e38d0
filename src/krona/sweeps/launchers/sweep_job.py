"""Pass a job of a multirun to another process, together with Hydra's state, and run it there."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from krona.config.choices import remove_plugin_launchers
from krona.runs.interrupts import OVERWRITE, Interrupted, interrupt
from krona.sweeps.output import SweepProgress
from krona.training.jobs.job import Job


@dataclass(frozen=True)
class SweepJob:
    """The overrides of a job and the state that Hydra needs to run it.

    Calling the object runs the job in this process and returns its outcome. A SIGTERM interrupts the job.
    """

    hydra_context: HydraContext
    config: DictConfig
    function: Callable[[DictConfig], Job]
    overrides: tuple[str, ...]
    number: int
    total: int | None  # the number of jobs of the multirun, if it is known
    singletons: Mapping[Any, Any]

    def __call__(self) -> Job:
        Singleton.set_state(dict(self.singletons))
        setup_globals()
        remove_plugin_launchers()
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(self.overrides))
        with open_dict(config):
            config.hydra.job.num = self.number
            config.hydra.job.id = f"{config.hydra.job.name}_{self.number}"
        HydraConfig.instance().set_config(config)
        SweepProgress.current = None if self.total is None else SweepProgress(self.total, ended=self.number)
        signal.signal(signal.SIGTERM, interrupt)
        done = run_job(
            hydra_context=self.hydra_context,
            task_function=self.function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        job: Job = done.return_value
        return job


@dataclass(frozen=True)
class Requeued:
    """A job that submitit runs and requeues.

    At its time limit the job stops, and submitit puts it into the queue again. The requeued job resumes the run.
    """

    job: SweepJob

    def __call__(self) -> Job:
        import submitit

        number = getattr(signal, f"SIG{submitit.JobEnvironment().USR_SIG}")
        requeue: Any = signal.getsignal(number)  # submitit's handler
        code: Any = 128 + signal.SIGTERM

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal code
            try:
                requeue(number, frame)
                return  # not on the first rank, which requeues the job for all ranks and ends them
            except SystemExit as end:
                code = end.code  # the job has been requeued
            except Exception as error:
                print(f"The job could not be put into the queue again: {error}", file=sys.stderr)
            raise Interrupted(number)

        signal.signal(number, stop)
        restarted = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0  # perhaps by SLURM, without `checkpoint`
        try:
            return (self.without_overwrite() if restarted else self).job()
        except Interrupted:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # SLURM sends SIGTERM when it requeues a job
            sys.exit(code)

    def checkpoint(self) -> Any:
        """Return the job to put into the queue again. submitit calls this method."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self.without_overwrite())

    def without_overwrite(self) -> "Requeued":
        """Return the job without ``overwrite=true``, which would start the run from the beginning."""
        kept = tuple(item for item in self.job.overrides if not OVERWRITE.fullmatch(item))
        return replace(self, job=replace(self.job, overrides=kept))
