"""`krona diff A B`: compare two runs, or compare two methods on all tasks with runs of at least one of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from krona.messages import KronaError
from krona.metrics.statistics import holm
from krona.report.diff.runs import RunDiff, diff_runs
from krona.report.grouping import differing_data, format_differing
from krona.report.score_cells import score_cell
from krona.report.stored_runs import StoredRun, load_runs
from krona.report.table import Cell
from krona.runs.folder import find_run
from krona.runs.index import summaries
from krona.runs.result import Result


@dataclass(frozen=True)
class TaskDiff:
    """The comparison of two methods on one task: their mean scores, and the paired test over their common seeds."""

    section: str  # the heading of the section
    task: str
    a: float | None
    b: float | None
    seeds: int = 0  # the number of seeds of the test
    p: float | None = None  # the p-value, with Holm's correction over all tasks
    remark: str = ""


@dataclass(frozen=True)
class MethodDiff:
    """The comparison of two methods."""

    a: str
    b: str
    tasks: list[TaskDiff]
    problems: list[str]  # a sentence for each file that could not be used


def compare(outputs: Path, a: str, b: str) -> RunDiff | MethodDiff:
    """Compare two methods with runs under ``outputs``, or two runs (ids, beginnings of ids, or paths)."""
    methods = {found.method for found in summaries(outputs) if isinstance(found, Result)}
    known = [name in methods for name in (a, b)]
    if all(known):
        return diff_methods(outputs, a, b)
    if any(known):
        method, other = (a, b) if known[0] else (b, a)
        runs = [path.parent.name for path in outputs.glob("*/result.json")]
        if not any(run.startswith(other) for run in runs) and not Path(other).exists():
            raise KronaError(
                f"The method {method!r} can't be compared with {other!r}, because no run under {outputs} "
                "has this name or method."
            )
        raise KronaError(f"{method!r} is a method, and {other!r} is a run. Give two runs or two methods.")
    return diff_runs(find_run(outputs, a).path, find_run(outputs, b).path)


def diff_methods(outputs: Path, a: str, b: str) -> MethodDiff:
    """Compare two methods on all tasks with runs of at least one of them.

    If a method has no run or several variants on a task, the task has a remark instead of a test.
    """
    runs, problems = load_runs([outputs])
    done = [run for run in runs if run.result.status == "done"]
    for name in (a, b):
        if not any(run.result.method == name for run in done):
            known = sorted({run.result.method for run in done})
            raise KronaError(
                f"The method {name!r} has no finished run under {outputs}. Methods with finished runs: "
                f"{', '.join(known) or 'none'}."
            )
    places = sorted({(run.section.heading, run.result.task) for run in done if run.result.method in (a, b)})
    rows = [_task_diff(done, section, task, (a, b)) for section, task in places]
    adjusted = iter(holm([row.p for row in rows if row.p is not None]))
    return MethodDiff(a, b, [row if row.p is None else replace(row, p=next(adjusted)) for row in rows], problems)


def _task_diff(runs: Sequence[StoredRun], section: str, task: str, methods: tuple[str, str]) -> TaskDiff:
    """Compare the means over the common seeds of two methods, so that the shown difference is the tested difference."""
    cells: list[Cell | None] = []
    remarks = []
    for name in methods:
        wanted = (section, task, name)
        ours = [run for run in runs if (run.section.heading, run.result.task, run.result.method) == wanted]
        variants = len({run.variant for run in ours})
        if variants != 1:
            remarks.append(f"{name} has {variants} variants, so give two runs" if variants else f"no run of {name}")
        cells.append(score_cell(ours, "test") if variants == 1 else None)
    one, two = cells
    if one is None or two is None:
        a, b = (None if cell is None else cell.value for cell in cells)
        return TaskDiff(section, task, a, b, remark="; ".join(remarks))
    seeds = sorted(one.answers.keys() & two.answers.keys())
    a, b = (fmean(cell.by_seed[seed] for seed in seeds or cell.by_seed) for cell in (one, two))
    if differing := differing_data(one.runs[0], two.runs[0]):
        return TaskDiff(section, task, a, b, remark=f"not on the same data: {format_differing(differing)}")
    test = one.test_against(two)
    if test is None:
        return TaskDiff(section, task, a, b, remark="no common seed with the same test set")
    counts = len(one.by_seed), len(two.by_seed)
    remark = "" if max(counts) == len(seeds) else f"common seeds of {counts[0]} and {counts[1]} seeds"
    return TaskDiff(section, task, a, b, len(seeds), test.p, remark)
