"""Plan and run the jobs of a multirun (a command with several jobs), and print its progress and its closing table."""

import os
import re
import shlex
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from krona.config.compose import Composed, compose_job, runs_folder, task_overrides
from krona.config.overrides import list_jobs, sweeper_params
from krona.formatting import duration, say, table, terminal_width
from krona.messages import KronaError, UnreachableError, first_few, plural
from krona.paths import OUTPUTS
from krona.runs import sweep
from krona.runs.description import low_score, outputs_option
from krona.runs.folder import RunFolder, RunState
from krona.runs.run_id import code_change
from krona.runs.suspicious_scores import examine_scores, message_lines
from krona.safe_files import remove, write_text
from krona.sweeps import plan
from krona.sweeps.plan import RUN_IDS
from krona.sweeps.status import count_states, result_cells
from krona.training.plan import plan_run
from krona.training.run_job import run_job

TOTAL = "KRONA_SWEEP_RUNS"  # environment variable with the number of runs of the multirun; child processes inherit it
AXES = "KRONA_SWEEP_AXES"  # environment variable with the keys in which the jobs of the multirun differ
NO_SETTING = ("method", "task", "seed")  # fields of the result, which are not settings of its row
LEFT = ("run", "state")  # columns that are aligned left
DIFFERENT = re.compile(r"'[^']*'|\d[\d.,]*")  # quoted words and numbers, which are ignored when warnings are compared
MAX_LINES = 5  # maximum number of lines of each kind of message

finished: list[str] = []  # ids of the runs that this process has trained in the multirun


class SweepSummary(Callback):
    """The Hydra callback that plans the runs of a multirun and prints their outcomes after the last job.

    With a sweeper other than Hydra's basic sweeper, the runs are not known in advance, so no closing table is printed.
    """

    def __reduce__(self) -> tuple[type["SweepSummary"], tuple[()]]:
        """Pickle the callback without the plan, which a launcher would otherwise copy to the process of each job."""
        return SweepSummary, ()

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        overrides, self.jobs, self.runs = task_overrides(config.hydra), list[tuple[str, ...]](), list[RunState]()
        try:  # find all errors before any file is written
            self.outputs = runs_folder(config.hydra, multirun=True)
            self.file = Path(config.hydra.sweep.dir).absolute() / "multirun.yaml"
            if os.path.lexists(self.file) and __package__ not in self.file.read_text("utf-8", errors="replace"):
                raise KronaError(
                    f"{self.file} exists, and Hydra would replace it. Rename the file, or use "
                    "hydra.sweep.dir=ANOTHER_FOLDER."
                )
            self.name = config.sweep or sweep.default_sweep_name(overrides)
            earlier = sweep.load_run_ids(self.outputs, self.name)
            if config.hydra.runtime.choices["hydra/sweeper"] != "basic":
                return
            self.jobs = list_jobs(sweeper_params(config), overrides)
            self.runs = plan.check_runs([plan.find_state(job, self.outputs) for job in self.jobs])
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
        # The overrides at the same position of all jobs have the same key.
        varied = [items[0] for items in zip(*self.jobs, strict=True) if len({*items}) > 1]
        os.environ[AXES] = " ".join(item.lstrip("+").partition("=")[0] for item in varied)
        os.environ[TOTAL] = str(len(self.runs))
        _announce(self.runs)

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        remove(self.file)  # Hydra's sweeper writes this file, but krona does not need it
        console = Console(soft_wrap=True)
        for number, (overrides, run) in enumerate(zip(self.jobs, self.runs, strict=True)):
            folder = RunFolder(self.outputs / run.run_id)
            if folder.claim_file.exists() and folder.state().state in ("interrupted", "waiting"):
                say(console, f"The process that worked on {run.run_id} has ended. Resuming the run.")
                run_one(partial(compose_job, overrides), overrides, self.outputs, number, console, runs_left=1)
        os.environ.pop(TOTAL, None)
        os.environ.pop(AXES, None)
        if self.runs and close(self.runs, Console(), sweep=self.name, min_score=config.get("min_score")):
            raise SystemExit(1)


def _announce(runs: Sequence[RunState]) -> None:
    """Print the number of runs, their errors, and the jobs that are the same run as an earlier job.

    Two jobs are the same run if, for example, their factor shapes are equivalent.
    """
    say(Console(), plural(len(runs), "run"))
    wrong = Counter(str(run.error) for run in runs if run.state == "wrong")
    for line in first_few([f"{plural(count, 'run')} will fail: {error}" for error, count in wrong.items()], MAX_LINES):
        say(Console(), f"  {line}")
    first: dict[str, tuple[str, ...]] = {}
    notes = []
    for run in runs:
        earlier = first.setdefault(run.run_id, run.overrides)
        if run.state != "wrong" and (different := [item for item in run.overrides if item not in earlier]):
            other = " ".join(item for item in earlier if item not in run.overrides)
            notes.append(f"{' '.join(different)} is the same run as {other} on this backbone, and is not repeated.")
    for line in first_few(notes, MAX_LINES):
        say(Console(), f"  note: {line}")


def run_one(
    compose: Callable[[], Composed],
    overrides: Sequence[str],
    outputs: Path,
    number: int,
    console: Console,
    *,
    runs_left: int | None = None,
) -> RunState:
    """Run one job of a multirun, and print its outcome. A failure is not raised, so that the other jobs continue.

    Args:
        compose: returns the config of the job.
        number: counts the jobs from 0.
        runs_left: that of the `Plan`; None: all runs of the multirun.

    Raises:
        SystemExit: the Hub cannot be reached for the first job, so all jobs would fail.
    """
    total = os.environ.get(TOTAL)
    position = f"{number + 1}/{total}" if total else ""  # a sweeper may not know the number of jobs
    if runs_left is None:
        runs_left = 0 if finished else int(total or 0)  # only the first run estimates the time of all runs
    try:
        job = replace(
            plan_run(compose(), outputs),
            multirun=True,
            overrides=overrides,
            shows_notes=not finished,  # the closing table has the notes of all runs
            varied=varied_settings(overrides),
            position=position,
            runs_left=runs_left,
        )
        done = run_job(job, console)
    except Exception as error:
        if isinstance(error, UnreachableError) and number == 0:
            raise SystemExit(str(error)) from error
        message = str(error)
        if not isinstance(error, KronaError):  # a bug of krona
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}"
        run_id = " ".join(overrides) or "job"
        done = RunState(run_id, "failed", OUTPUTS / run_id, error=message)
    if done.state == "done":
        finished.append(done.run_id)
    say(console, "  ".join(filter(None, [position, progress_line(done)])))
    return done


def varied_settings(overrides: Iterable[str]) -> dict[str, str]:
    """Return the settings of a job that its multirun varies, and its variant."""
    keys = {"variant", *os.environ.get(AXES, "").split()}.difference(NO_SETTING)
    pairs = [item.lstrip("+").partition("=") for item in overrides]
    return {key: value for key, _, value in pairs if key in keys}


def progress_line(run: RunState) -> str:
    """Return a line such as ``done  ID  dev 61.20  test 58.90  9 s``."""
    result = run.result
    if run.error is not None or result is None:
        return f"{run.state}  {run.run_id}: {run.error!s}"
    scores = [f"{name} {each['score']:.2f}" for name, each in (("dev", result.dev), ("test", result.test)) if each]
    return "  ".join([run.state, run.run_id, *scores, duration(result.times["total"])])


def close(before: Sequence[RunState], console: Console, *, sweep: str, min_score: float | None = None) -> int:
    """Print the closing table of a multirun, and return the exit code.

    The exit code is 0 if no score is below ``min_score`` and each run is done, or if another process works on it, and
    otherwise 1.

    The outcomes are read from the folders of the planned runs. The table is therefore complete with any launcher.

    Args:
        before: the planned runs, with their states before the command started.
    """
    runs, earlier = list[RunState](), set[str]()
    for run in map(read_outcome, before):
        is_repeated = run.state == "done" and run.run_id in earlier  # an earlier job of the multirun is the same run
        runs.append(replace(run, state="done already") if is_repeated else run)
        earlier.add(run.run_id)
    show(runs, console, sweep=sweep)
    low = [message for run in runs if (message := low_score(run, min_score))]
    for message in first_few(low, MAX_LINES):
        say(console, message)
    return int(bool(low) or any(run.state not in ("done", "done already", "running") for run in runs))


def read_outcome(before: RunState) -> RunState:
    """Return the state of a planned run after the command. ``before`` is its state before the command started."""
    if before.state == "wrong":
        return before
    now = replace(RunFolder(before.folder).state(), overrides=before.overrides)
    match now.state, now.result:
        case "done", result if result and before.result and before.result.provenance == result.provenance:
            return replace(now, state="done already", messages=code_change(result))
        case "running", _:
            return replace(now, error="another process works on this run")
        case "interrupted", result if result:
            return replace(now, error=f"stopped, {result.reached}. Run the same command again to resume.")
        case "waiting", _:
            return replace(now, error="no result. Its error is above, or in the output of its process.")
    return now


def show(runs: Sequence[RunState], console: Console, *, sweep: str) -> None:
    """Print a table with the differing overrides, the state and the scores of each run, messages, and the next command.

    Messages about scores, notes and errors are printed once for all runs to which they apply.
    """
    common = set(runs[0].overrides).intersection(*(run.overrides for run in runs))
    names = [" ".join(item for item in run.overrides if item not in common) or run.run_id for run in runs]
    cells = [[name, run.state, *result_cells(run.result)] for name, run in zip(names, runs, strict=True)]
    say(console, "")
    say(console, table(("run", "state", "dev", "test", "time"), cells, width=terminal_width(console), left=LEFT))
    say(console, "")
    again = any(run.state == "done already" for run in runs)
    say(console, count_states(runs) + ". To run finished runs again, add overwrite=true" * again)
    done = [(run, run.result) for run in runs if run.result is not None and run.result.status == "done"]
    warnings = [
        (run, line) for run, result in done for line in message_lines(result, examine_scores(result, run.folder)[1])
    ]
    notes = [(run, f"note: {note}") for run, result in done for note in (*result.notes, *run.messages)]
    errors = [(run, run.error) for run in runs if run.error]
    for lines in (warnings, notes, errors):
        for line in _group(lines, runs):
            say(console, line)
    if any(run.result is not None and run.result.status == "failed" for run in runs):
        say(console, "To run failed runs again, add retry=failed to the same command.")
    is_table = re.fullmatch("table[0-9]+", sweep)  # as an argument, this name selects a table of the paper
    report = f"krona report {'--sweep ' if is_table else ''}{shlex.quote(sweep)}"
    say(console, f"next: {report}{outputs_option(done[0][0])}" if done else "next: krona list", wrap=False)


def _group(lines: Sequence[tuple[RunState, str]], runs: Sequence[RunState]) -> list[str]:
    """Return one line per text. Texts that differ only in quoted words and numbers share a line."""
    equal: dict[str, list[str]] = {}
    for run, line in lines:
        equal.setdefault(DIFFERENT.sub("", line), []).append(f"{run.run_id}: {line}")
    grouped = [
        alike[0] if len(alike) == 1 else f"{len(alike)} of {plural(len(runs), 'run')}, such as {alike[0]}"
        for alike in equal.values()
    ]
    return first_few(grouped, MAX_LINES)
