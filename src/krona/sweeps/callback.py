"""Define the Hydra callback that plans the runs of a multirun, saves the plan, and prints the closing table."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from rich.console import Console

from krona.config.compose import compose_job, runs_folder, task_overrides
from krona.config.overrides import list_jobs, sweeper_params
from krona.formatting import say
from krona.messages import KronaError, first_few, plural
from krona.runs import sweep
from krona.runs.folder import RunFolder, RunState
from krona.safe_files import remove, write_text
from krona.sweeps import output, plan
from krona.sweeps.output import MAX_LINES
from krona.sweeps.run_sweep import RUN_IDS
from krona.training.plan import plan_run
from krona.training.run_job import run_job


class SweepSummary(Callback):
    """The Hydra callback that plans the runs of a multirun and prints their outcomes after the last job.

    With a sweeper other than Hydra's basic sweeper, the runs are not known in advance, so no closing table is printed.
    """

    def __reduce__(self) -> tuple[type["SweepSummary"], tuple[()]]:
        """Pickle the callback without the plan, which a launcher would otherwise copy to the process of each job."""
        return SweepSummary, ()

    def on_multirun_start(self, config: Any, **kwargs: object) -> None:
        overrides, self.jobs, self.runs = task_overrides(config.hydra), list[tuple[str, ...]](), list[RunState]()
        try:  # find all errors before any file is written
            self.outputs = runs_folder(config.hydra, multirun=True)
            self.file = Path(config.hydra.sweep.dir).absolute() / "multirun.yaml"
            _require_replaceable(self.file)
            self.name = config.sweep or sweep.default_sweep_name(overrides)
            earlier = sweep.load_run_ids(self.outputs, self.name)
            if config.hydra.runtime.choices["hydra/sweeper"] != "basic":
                return
            self.jobs = list_jobs(sweeper_params(config), overrides)
            self.runs = plan.check_runs(plan.list_job_states(self.jobs, outputs=self.outputs))
            if self.runs and all(run.state == "wrong" for run in self.runs):
                errors = dict.fromkeys(str(run.error) for run in self.runs)
                raise KronaError("\n".join(first_few([*errors], MAX_LINES)))
            self.outputs.mkdir(parents=True, exist_ok=True)
            ids = {run.run_id for run in self.runs if run.state != "wrong"}
            if file := os.environ.get(RUN_IDS):
                write_text(Path(file), "".join(f"{run_id}\n" for run_id in sorted(ids)))
            if ids and not ids < earlier:  # a command with a proper subset of the runs does not change the plan
                sweep.save_command(self.outputs, self.name, overrides)
                sweep.save_run_ids(self.outputs, self.name, ids)
        except KronaError as error:  # Hydra only warns about exceptions other than SystemExit
            raise SystemExit(str(error)) from error
        except OSError as error:
            raise SystemExit(
                f"{error.filename} cannot be used: {error.strerror or error}. A sweep needs a writable folder."
            ) from error
        os.environ[output.TOTAL] = str(len(self.runs))
        output.save_axes(self.jobs)
        _announce(self.runs)

    def on_multirun_end(self, config: Any, **kwargs: object) -> None:
        remove(self.file)  # Hydra's sweeper writes this file, but krona does not need it
        self._resume_killed_runs()
        os.environ.pop(output.TOTAL, None)
        os.environ.pop(output.AXES, None)
        if self.runs and output.close(self.runs, Console(), sweep=self.name, min_score=config.get("min_score")):
            raise SystemExit(1)

    def _resume_killed_runs(self) -> None:
        """Resume the runs of other processes that were killed after this process had passed the runs."""
        for number, (overrides, run) in enumerate(zip(self.jobs, self.runs, strict=True)):
            folder = RunFolder(self.outputs / run.run_id)
            if not folder.claim_file.exists() or folder.state().state not in ("interrupted", "waiting"):
                continue
            job = replace(
                plan_run(compose_job(overrides), self.outputs),
                multirun=True,
                overrides=overrides,
                varied=output.varied_settings(overrides),
                position=output.position(number),
            )
            console = Console(soft_wrap=True)
            say(console, f"The process that worked on {run.run_id} has ended. Resuming the run.")
            try:
                done = run_job(job, console)
            except KronaError as error:
                done = RunState(run.run_id, "failed", folder.path, error=str(error))
            say(console, output.progress_line(done, number))


def _announce(runs: Sequence[RunState]) -> None:
    say(Console(), plural(len(runs), "run"))
    wrong = Counter(str(run.error) for run in runs if run.state == "wrong")
    for line in first_few([f"{plural(count, 'run')} will fail: {error}" for error, count in wrong.items()], MAX_LINES):
        say(Console(), f"  {line}")
    for line in _find_equal_runs(runs):
        say(Console(), f"  note: {line}")


def _find_equal_runs(runs: Sequence[RunState]) -> list[str]:
    """Return a note for each job that is the same run as an earlier job, such as jobs with equivalent factor shapes."""
    first: dict[str, tuple[str, ...]] = {}
    notes = []
    for run in runs:
        earlier = first.setdefault(run.run_id, run.overrides)
        if run.state != "wrong" and (different := [item for item in run.overrides if item not in earlier]):
            other = " ".join(item for item in earlier if item not in run.overrides)
            notes.append(f"{' '.join(different)} is the same run as {other} on this backbone, and is not repeated.")
    return first_few(notes, MAX_LINES)


def _require_replaceable(file: Path) -> None:
    """Check that the multirun does not replace and then remove a file of the user.

    Raises:
        KronaError: the file exists, and Hydra did not write it.
    """
    if os.path.lexists(file) and f"{__name__}." not in file.read_text(encoding="utf-8", errors="replace"):
        raise KronaError(
            f"{file} exists, and Hydra would replace it. Rename the file, or use hydra.sweep.dir=ANOTHER_FOLDER."
        )
