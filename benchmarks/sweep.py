"""bench=sweep: compare the time of a short run in a separate process with its time as a job of a sweep."""

import shutil
import subprocess
import sys
import time
from dataclasses import field
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from benchmarks.settings import Row, Work, settings
from benchmarks.timing import timed_rounds
from krona.messages import KronaError
from krona.runs.result import read_result

COLUMNS = {
    "name": "a short run as", "jobs": "jobs", "median_s": "time", "spread": "spread", "ratio_to_process": "/ process",
}  # fmt: skip
PLOT = ("ratio_to_process", "time divided by the time in a separate process")
SWEEP = "bench"  # the name of the sweep, by which the benchmark finds and removes its runs


@settings
class Options:
    """The settings of this benchmark."""

    jobs: Annotated[int, Ge(2)] = 8
    """The number of jobs of the sweep."""
    overrides: list[str] = field(default_factory=list)
    """The arguments of train.py."""


def measure(work: Work) -> list[Row]:
    """Time a process that runs one job, and a process that runs ``jobs`` jobs.

    The time of an additional job follows from the difference of the two times.
    """
    options, project = work.bench.own(Options), work.project
    common = [*options.overrides, f"sweep={SWEEP}", "overwrite=true"]
    seeds = ",".join(str(seed) for seed in range(options.jobs))
    try:
        timed = timed_rounds(
            work.bench,
            {
                "process": lambda: _run(project, [*common, "seed=0"]),
                "sweep": lambda: _run(project, ["-m", *common, f"seed={seeds}"]),
            },
            say=work.say,
        )
        start_up = _run(project, ["--cfg", "job", *common])
    finally:
        _remove_runs(project / "outputs")
    alone, whole = timed.seconds["process"], timed.seconds["sweep"]
    timed.seconds["job"] = [(many - one) / (options.jobs - 1) for one, many in zip(alone, whole, strict=True)]
    return [
        {
            **timed.row(name),
            "jobs": options.jobs if name == "sweep" else 1,
            "ratio_to_process": timed.median(name) / timed.median("process"),
            "start_up_s": start_up if name == "process" else None,
        }
        for name in ("process", "job", "sweep")
    ]


def _run(project: Path, arguments: list[str]) -> float:
    """Run ``train.py`` with these arguments, and return its time from start to exit in seconds."""
    command = [sys.executable, str(project / "train.py"), *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise KronaError(f"train.py {' '.join(arguments)} failed: {output[-1]}")
    return seconds


def _remove_runs(outputs: Path) -> None:
    """Remove the benchmark's runs, which are not results."""
    for file in outputs.glob("*/result.json"):
        try:
            ours = read_result(file).config.get("sweep") == SWEEP
        except KronaError:  # the file is damaged, so this benchmark did not write it
            continue
        if ours:
            shutil.rmtree(file.parent, ignore_errors=True)
