"""`krona diff A B`: compare two runs, or two methods on all tasks with runs of at least one of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from krona.messages import KronaError
from krona.metrics.statistics import holm, mcnemar, swap_test, task_seed
from krona.report.score_cells import score_cell
from krona.report.stored_runs import StoredRun, differing_training, finished, format_differing, load_runs, stored_run
from krona.report.table import Cell
from krona.runs.folder import RunFolder, find_run
from krona.runs.index import summaries
from krona.runs.provenance import used_shape
from krona.runs.result import Result
from krona.safe_files import parse_json

ONLY_A, ONLY_B, NEITHER = "only A right", "only B right", "both wrong"


@dataclass(frozen=True)
class Change:
    """An example for which two runs have different predictions."""

    id: str
    source: str
    target: str
    a: str  # the predictions
    b: str
    verdict: str  # "only A right", "only B right" or "both wrong"; in a regression, the change of the absolute error
    size: float = 0.0  # in a regression, the absolute change of the error


@dataclass
class RunDiff:
    """The comparison of two runs."""

    a: StoredRun
    b: StoredRun
    settings: list[tuple[str, str, str]]  # key and both values of each setting that differs
    scores: list[tuple[str, float | None, float | None]]  # name and both values of each score
    p: float | None = None  # p-value of the paired randomisation test on the task's score
    only_a: int | None = None  # number of examples for which only run a is right; None in a regression
    only_b: int | None = None
    mcnemar: float | None = None  # p-value of the exact McNemar test, if the score is accuracy
    untested: str | None = None  # the reason why there is no test
    changes: list[Change] = field(default_factory=list)
    without_texts: str | None = None  # the reason why changed examples can't be shown, or not all of them


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
    if a in methods and b in methods:
        return diff_methods(outputs, a, b)
    if a in methods or b in methods:
        method, other = (a, b) if a in methods else (b, a)
        runs = [path.parent.name for path in outputs.glob("*/result.json")]
        if not any(run.startswith(other) for run in runs) and not Path(other).exists():
            raise KronaError(
                f"The method {method!r} can't be compared with {other!r}, because no run under {outputs} "
                "has this name or method."
            )
        raise KronaError(f"{method!r} is a method, and {other!r} is a run. Give two runs or two methods.")
    return diff_runs(find_run(outputs, a).path, find_run(outputs, b).path)


def diff_runs(a: Path, b: Path) -> RunDiff:
    """Compare the runs in two folders. Raise KronaError if a run can't be read."""
    one, two = (stored_run(run.read(), run.result) for run in (RunFolder(a), RunFolder(b)))
    settings, scores = _differing_settings(one, two), list(_scores(one, two))
    found = RunDiff(one, two, settings, scores, untested=_why_untested(one, two))
    if found.untested is None:
        _test(found)
        _add_changes(found)
    return found


def _differing_settings(one: StoredRun, two: StoredRun) -> list[tuple[str, str, str]]:
    """Return the key and both values of each setting that differs.

    A fingerprint that is unknown for one of the runs does not count as different.
    """
    finished = one.status == two.status == "done"  # an unfinished run has not recorded the shape of A that it used
    sides = []
    for run in (one, two):
        settings = {"seed": str(run.result.seed), **run.settings}
        if finished and (used := used_shape(run.result)) is not None:
            settings["method.kron_factors"] = used
            settings.pop("method.fit_factors", None)
        sides.append(settings)
    unknown = {key for run in (one, two) for key, value in run.content.items() if value is None}
    keys = [key for key in {**sides[0], **sides[1]} if key not in unknown]
    both = [(key, *(side.get(key, "not set") for side in sides)) for key in keys]
    return [(key, x, y) for key, x, y in both if x != y]


def _scores(a: StoredRun, b: StoredRun) -> Iterator[tuple[str, float | None, float | None]]:
    for split in ("test", "dev"):
        yield f"{split} score", a.score(split), b.score(split)
        parts = [(getattr(run.result, split) or {}).get("parts", {}) for run in (a, b)]
        for metric in dict.fromkeys([*parts[0], *parts[1]]):
            yield f"{split} {metric}", parts[0].get(metric), parts[1].get(metric)


def _why_untested(a: StoredRun, b: StoredRun) -> str | None:
    for run in (a, b):
        if run.result.status != "done":
            return f"{run.result.run_id} is {run.result.status}"
        if "test" not in run.predictions[0]:
            return f"{run.result.run_id} has no stored predictions"
    if a.result.task != b.result.task:
        return f"the runs have different tasks, {a.result.task} and {b.result.task}"
    one, two = a.predictions[0]["test"], b.predictions[0]["test"]
    if len(one) != len(two) or (one.truth != two.truth).any():
        return f"the test sets of the runs differ ({len(one)} and {len(two)} examples)"
    return None


def _test(found: RunDiff) -> None:
    one, two, metrics = found.a.predictions[0]["test"], found.b.predictions[0]["test"], found.a.metrics
    found.p = swap_test([one], [two], metrics, seed=task_seed(found.a.result.task)).p
    if one.classes:
        right_a, right_b = one.given == one.truth, two.given == two.truth
        found.only_a, found.only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        if metrics == ["accuracy"]:
            found.mcnemar = mcnemar(found.only_a, found.only_b)


def _add_changes(found: RunDiff) -> None:
    try:
        one, two = (_predictions(RunFolder(run.path.parent).predictions) for run in (found.a, found.b))
    except KronaError as error:
        found.without_texts = str(error)
        return
    judge = _judge_label if found.a.predictions[0]["test"].classes else _judge_error
    for key in (key for key in one if key in two):
        x, y = one[key], two[key]
        if x["prediction"].strip() != y["prediction"].strip():
            texts = x["source"], x["target"], x["prediction"], y["prediction"]
            found.changes.append(Change(key, *texts, *judge(x, y)))
    order = {ONLY_A: 0, ONLY_B: 1, NEITHER: 2}
    found.changes.sort(key=lambda change: (order.get(change.verdict, 0), -change.size))
    if one.keys() != two.keys():
        found.without_texts = f"Only {len(one.keys() & two.keys())} examples are in the predictions.jsonl of both runs."


def _predictions(path: Path) -> dict[str, dict[str, Any]]:
    found, number = {}, 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                row = parse_json(line)
                if row["split"] == "test":
                    found[str(row["id"])] = {key: str(row[key]) for key in ("source", "target", "prediction")}
    except FileNotFoundError as error:
        raise KronaError(f"{path} was not found, so the changed examples can't be shown.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KronaError(f"{path} can't be read near line {number}: {type(error).__name__} {error}") from error
    return found


def _judge_label(x: dict[str, Any], y: dict[str, Any]) -> tuple[str, float]:
    a, b = (row["prediction"].strip() == row["target"].strip() for row in (x, y))
    return NEITHER if not a and not b else ONLY_A if a else ONLY_B, 0.0


def _judge_error(x: dict[str, Any], y: dict[str, Any]) -> tuple[str, float]:
    """Return the change of the absolute error as text, and the size of this change."""
    try:
        errors = [abs(float(row["prediction"]) - float(row["target"])) for row in (x, y)]
    except ValueError:
        return "not a number", 0.0
    return f"error {errors[1] - errors[0]:+.1f}", abs(errors[1] - errors[0])


def diff_methods(outputs: Path, a: str, b: str) -> MethodDiff:
    """Compare two methods on all tasks with runs of at least one of them.

    If a method has no run or several variants on a task, the task has a remark instead of a test.
    """
    runs, problems = load_runs([outputs])
    done = finished(runs)
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
        variants = len({run.common.variant for run in ours})
        if variants != 1:
            remarks.append(f"{name} has {variants} variants, so give two runs" if variants else f"no run of {name}")
        cells.append(score_cell(ours, "test") if variants == 1 else None)
        if variants == 1 and cells[-1] is None:
            remarks.append(f"{name} has no test score")
    one, two = cells
    if one is None or two is None:
        a, b = (None if cell is None else cell.value for cell in cells)
        return TaskDiff(section, task, a, b, remark="; ".join(remarks))
    seeds = sorted(one.answers.keys() & two.answers.keys())
    a, b = (fmean(cell.by_seed[seed] for seed in seeds or cell.by_seed) for cell in (one, two))
    if differing := differing_training(one.runs[0], two.runs[0]):
        return TaskDiff(section, task, a, b, remark=f"not the same training: {format_differing(differing)}")
    test = one.test_against(two)
    if test is None:
        return TaskDiff(section, task, a, b, remark="no common seed with the same test set")
    counts = len(one.by_seed), len(two.by_seed)
    remark = "" if max(counts) == len(seeds) else f"common seeds of {counts[0]} and {counts[1]} seeds"
    return TaskDiff(section, task, a, b, len(seeds), test.p, remark)
