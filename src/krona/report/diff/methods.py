"""`krona diff METHOD METHOD`: two methods on every task that either has run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from krona.messages import KronaError
from krona.metrics.statistics import holm
from krona.report.cells import CellScores, paired_test, score_cell
from krona.report.grouping import apart, differs
from krona.report.selection import StoredRun, load


@dataclass(frozen=True)
class TaskDiff:
    """One task of two methods: means and the paired test over the seeds that both have, Holm over tasks."""

    section: str
    task: str
    a: float | None
    b: float | None
    seeds: int
    p: float | None
    remark: str


@dataclass(frozen=True)
class MethodDiff:
    a: str
    b: str
    tasks: list[TaskDiff]
    problems: list[str]  # files that could not be used


def diff_methods(outputs: Path, a: str, b: str) -> MethodDiff:
    """Two methods on every task that either has; one that only one side has is named, never dropped.

    Where a method has several variants on a task, the task's remark says so and it is not compared.
    """
    runs, problems = load([outputs])
    done = [run for run in runs if run.result.status == "done"]
    for name in (a, b):
        if not any(run.result.method == name for run in done):
            known = sorted({run.result.method for run in done})
            raise KronaError(
                f"no finished run of method {name!r} under {outputs}; there are {', '.join(known) or 'none'}"
            )
    places = sorted({(run.section.heading, run.result.task) for run in done if run.result.method in (a, b)})
    rows = [_task_diff(done, section, task, a, b) for section, task in places]
    adjusted = iter(holm([row.p for row in rows if row.p is not None]))
    tasks = [row if row.p is None else replace(row, p=next(adjusted)) for row in rows]
    return MethodDiff(a, b, tasks, problems)


def _task_diff(runs: Sequence[StoredRun], section: str, task: str, a: str, b: str) -> TaskDiff:
    sides: list[list[StoredRun]] = []
    remarks = []
    for name in (a, b):
        wanted = (section, task, name)
        ours = [run for run in runs if (run.section.heading, run.result.task, run.result.method) == wanted]
        variants = len({run.variant for run in ours})
        if variants != 1:
            remarks.append(f"{name} has {variants} variants: name two runs" if variants else f"no run of {name}")
        sides.append(ours if variants == 1 else [])
    one, two = (score_cell(side, "test") for side in sides)
    if one is not None and two is not None:
        return _compared(section, task, sides, (one, two))
    values = [None if side is None else side.cell.value for side in (one, two)]
    return TaskDiff(section, task, values[0], values[1], 0, None, "; ".join(remarks))


def _compared(
    section: str, task: str, sides: Sequence[Sequence[StoredRun]], scored: tuple[CellScores, CellScores]
) -> TaskDiff:
    """Means and test over the seeds that both have: what is tested is the difference that is shown."""
    one, two = scored
    seeds = one.answers.keys() & two.answers.keys()
    means = [fmean(side.by_seed[seed] for seed in sorted(seeds) or side.by_seed) for side in scored]
    if odd := apart(*(side[0] for side in sides)):
        why = f"not on the same data: {differs(odd)}"
        return TaskDiff(section, task, means[0], means[1], 0, None, why)
    test = paired_test(one, two)
    if test is None:
        return TaskDiff(section, task, means[0], means[1], 0, None, "no seed of both on one test set")
    counts = [len({run.result.seed for run in side}) for side in sides]
    remark = "" if max(counts) == len(seeds) else f"of {counts[0]} and {counts[1]} seeds those that both have"
    return TaskDiff(section, task, means[0], means[1], len(seeds), test.p, remark)
