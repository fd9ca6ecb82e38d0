"""bench=sweep: what a short run costs as one job of a sweep, against the same in a process of its own."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from krona.bench.machine import QUIET, others_share, read_clock
from krona.bench.settings import Bench
from krona.errors import KronaError
from krona.results import read_result

Row = dict[str, Any]


def measure(bench: Bench, project: Path, say: Callable[[str], None]) -> list[Row]:
    """A fresh process with one job, and one with ``jobs`` of them: the difference is what a further job costs."""
    jobs, rounds = int(bench.options["jobs"]), bench.rounds
    if jobs < 2:
        raise KronaError(f"bench.options.jobs={jobs}: a sweep of at least two")
    common = [str(item) for item in bench.options["overrides"]]
    alone: list[float] = []
    further: list[float] = []
    disturbed = 0
    _run(project, [*common, "seed=0"])  # the tokens are cached, the libraries in the disk's cache
    for number in range(rounds):
        say(f"round {number + 1}/{rounds}")
        before = read_clock()
        one = _run(project, [*common, "seed=0"])
        many = _run(project, ["-m", *common, f"seed={','.join(str(seed) for seed in range(jobs))}"])
        share = others_share(before, read_clock())
        if share > QUIET:
            disturbed += 1
            if bench.load == "refuse":
                raise KronaError(
                    f"the machine is under load: others took {share:.2f} cores in this round. Wait until they are "
                    "done; bench.load=mark measures all the same and marks the result as disturbed"
                )
        alone.append(one)
        further.append((many - one) / (jobs - 1))
    imports = _run(project, ["--cfg", "job", *common])
    _forget(project)
    figures = {"process": alone, "job": further}
    return [
        {
            "name": name,
            "shape": None,
            "median_s": sorted(seconds)[len(seconds) // 2],
            "spread": (max(seconds) - min(seconds)) / 2 / sorted(seconds)[len(seconds) // 2],
            "ratio_to_full": None,
            "ratio_to_process": sorted(seconds)[len(seconds) // 2] / sorted(alone)[len(alone) // 2],
            "start_up_s": imports if name == "process" else None,
            "rounds": rounds,
            "disturbed_rounds": disturbed,
        }
        for name, seconds in figures.items()
    ]


def _forget(project: Path) -> None:
    """Take the bench's own runs out of outputs/: they are no results."""
    for file in (project / "outputs").glob("*/result.json"):
        result = read_result(file)
        if result.config.get("sweep") == "bench":
            shutil.rmtree(file.parent, ignore_errors=True)


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
