"""Several processes on one sweep: each takes the runs that nobody has, and one screen shows how far all are."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from krona.jobs.processes import children, exit_code
from krona.messages import KronaError
from krona.outputs.state import OPEN
from krona.paths import PROJECT
from krona.screen import duration
from krona.sweeps import status
from krona.sweeps.plan import Planned, plan
from krona.training.machine import cpu_count

POLL_S = 1.0


def run_sweep(overrides: Sequence[str], *, workers: int, outputs: Path, console: Console) -> int:
    """Run a sweep to its end in ``workers`` processes; 0 if all its runs are done, else 1.

    One has the terminal to itself. Several share the work through the runs' claims, as processes on other machines may.
    What a worker leaves behind that dies, a further round takes up. Their own output is in
    ``outputs/sweeps/worker-N.log``. An interrupt ends this process, by its own exit code, once the workers have ended.
    """
    if workers == 1:
        with children(tell=False) as alone:  # it says itself that it was interrupted
            alone.append(subprocess.Popen(_command(overrides)))
            alone[0].wait()
        return exit_code(alone[0])
    if launcher := next((item for item in overrides if item.startswith("hydra/launcher=")), None):
        raise KronaError(f"--workers {workers} and {launcher}: both say who shares the runs; leave one of them out")
    runs = plan(overrides, outputs=outputs)
    console.print(status.counts_line(runs), highlight=False, markup=False)
    for _ in range(3):
        open_runs = [run for run in runs if run.state in OPEN]
        if not open_runs:
            break
        runs = _round(runs, overrides, min(workers, len(open_runs)), outputs, console)
    console.print(status.counts_line(runs), highlight=False, markup=False)
    for run in runs:
        if run.state in ("failed", "wrong"):
            console.print(f"{run.run_id}: {run.error}", highlight=False, markup=False)
    return 0 if all(run.state == "done" for run in runs) else 1


def _command(overrides: Sequence[str]) -> list[str]:
    return [sys.executable, str(PROJECT / "train.py"), "-m", *overrides]


def _round(
    runs: list[Planned], overrides: Sequence[str], workers: int, outputs: Path, console: Console
) -> list[Planned]:
    logs = [outputs / "sweeps" / f"worker-{number}.log" for number in range(workers)]
    logs[0].parent.mkdir(parents=True, exist_ok=True)
    threads = str(max(1, cpu_count() // workers))
    with children(tell=True) as processes:
        for log in logs:
            with log.open("w", encoding="utf-8") as file:
                processes.append(
                    subprocess.Popen(
                        _command(overrides),
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        env={"OMP_NUM_THREADS": threads, **os.environ},
                    )
                )
        while any(process.poll() is None for process in processes):
            time.sleep(POLL_S)
            runs = _tell(runs, status.again(runs, outputs), console)
    now = _tell(runs, status.again(runs, outputs), console)
    if all(process.returncode not in (0, 1) for process in processes):
        raise KronaError(f"the workers ended with {processes[0].returncode}: {logs[0]} says why")
    return now


def _tell(before: list[Planned], now: list[Planned], console: Console) -> list[Planned]:
    """A line for each run that ended since."""
    done = sum(run.state == "done" for run in before)
    for old, new in zip(before, now, strict=True):
        if new.state == old.state or new.state not in ("done", "failed"):
            continue
        result = new.result
        if new.state == "failed" or result is None:
            line = f"failed  {new.run_id}: {new.error}"
        else:
            done += 1
            scores = [f"{name} {part['score']:.2f}" for name in ("dev", "test") if (part := getattr(result, name))]
            line = f"{done}/{len(now)}  {new.run_id}  {'  '.join(scores)}  {duration(result.times['total'])}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return now
