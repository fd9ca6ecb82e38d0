"""The launcher that conf/hydra/launcher/*.yaml use. Hydra 1.3 finds plugins only in the package ``hydra_plugins``."""

from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf


class ProcessLauncher(Launcher):
    """A launcher that runs all jobs of a multirun, even if some of them fail.

    Args:
        engine: as in `krona.sweeps.launchers.launch.launch`.
        settings: settings of the engine.
    """

    def __init__(self, engine: str, **settings: Any) -> None:
        self.engine = engine
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: Callable[[DictConfig], Any], config: DictConfig
    ) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        from krona.messages import KronaError
        from krona.sweeps.launchers.launch import launch
        from krona.sweeps.launchers.sweep_job import SweepJob
        from krona.sweeps.ledger import note_job, undo_start
        from krona.sweeps.output import SweepProgress

        jobs = [
            SweepJob(
                hydra_context=self.hydra_context,
                config=self.config,
                function=self.task_function,
                overrides=tuple(overrides),
                number=number,
                total=None if SweepProgress.current is None else SweepProgress.current.total,
                singletons=Singleton.get_state(),
            )
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        settings = {
            name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for name, value in self.settings.items()
        }
        try:
            done = launch(self.engine, jobs, settings)
        except KronaError:  # the cluster rejected the jobs
            undo_start(self.config)
            raise
        for job in done:
            note_job(job)
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=job) for job in done]
