"""bench=sweep: what a short run costs as one job of a sweep, against the same in a process of its own."""

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from krona.bench.rounds import rounds_of
from krona.bench.settings import Bench
from krona.messages import KronaError
from krona.outputs.result import read_result

Row = dict[str, Any]
SWEEP = "bench"  # the name by which the bench's own runs are found and taken away


@dataclass(frozen=True, kw_only=True)
class Options:
    """jobs: of the sweep; overrides: what train.py is called with."""

    jobs: int = 8
    overrides: list[str] = field(default_factory=list)


def measure(bench: Bench, project: Path, say: Callable[[str], None]) -> list[Row]:
    """A fresh process with one job, and one with ``jobs`` of them: the difference is what a further job costs."""
    options = bench.own(Options)
    if options.jobs < 2:
        raise KronaError(f"bench.options.jobs={options.jobs}: a sweep has at least two")
    common = [*options.overrides, f"sweep={SWEEP}", "overwrite=true"]
    seeds = ",".join(str(seed) for seed in range(options.jobs))
    try:
        timed = rounds_of(
            bench,
            {
                "process": lambda: _run(project, [*common, "seed=0"]),
                "sweep": lambda: _run(project, ["-m", *common, f"seed={seeds}"]),
            },
            say=say,
        )
        start_up = _run(project, ["--cfg", "job", *common])
    finally:
        _forget(project / "outputs")
    alone, whole = timed.seconds["process"], timed.seconds["sweep"]
    timed.seconds["job"] = [(many - one) / (options.jobs - 1) for one, many in zip(alone, whole, strict=True)]
    return [
        {
            "name": name,
            "shape": None,
            "jobs": options.jobs if name == "sweep" else 1,
            "median_s": timed.median(name),
            "spread": timed.spread(name),
            "ratio_to_full": None,
            "ratio_to_process": statistics.median(timed.seconds[name]) / statistics.median(alone),
            "start_up_s": start_up if name == "process" else None,
            "rounds": len(alone),
            "disturbed_rounds": timed.disturbed,
        }
        for name in ("process", "job", "sweep")
    ]


def _run(project: Path, arguments: list[str]) -> float:
    """Seconds of ``train.py`` with these arguments, from start to exit."""
    command = [sys.executable, str(project / "train.py"), *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing said"]
        raise KronaError(f"train.py {' '.join(arguments)} failed: {said[-1]}")
    return seconds


def _forget(outputs: Path) -> None:
    """Take the bench's own runs out of outputs/: they are no results."""
    for file in outputs.glob("*/result.json"):
        try:
            ours = read_result(file).config.get("sweep") == SWEEP
        except KronaError:  # somebody else's, and broken
            continue
        if ours:
            shutil.rmtree(file.parent, ignore_errors=True)
