"""Compare two runs, or two methods on all their tasks (`krona diff A B`)."""

import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from krona.formatting import NOTHING, format_p, table
from krona.messages import KronaError, escape_control_characters
from krona.metrics.compare_methods import MIN_SEEDS
from krona.metrics.scores.metric import Answers
from krona.metrics.statistics import holm, mcnemar, swap_test
from krona.report.cells import compare_cells, examine_run, score_cell
from krona.report.pairs import format_seeds
from krona.report.runs import (
    CONTENT,
    Runs,
    describe_settings,
    differing_training,
    format_differing,
    group_by,
    load_runs,
    recorded_defaults,
)
from krona.report.text import setting_text
from krona.runs.description import used_shape
from krona.runs.folder import RunFolder, find_run
from krona.runs.frame import stored_results
from krona.runs.predictions import decode_label, read_outcomes, read_rows, score_metrics
from krona.runs.result import Result
from krona.runs.studies import study_files

VERDICTS = ("only A right", "only B right", "both wrong")
METHODS_NOTE = (
    "p is from a t-test of the task's metric over examples and seeds together, with Holm's correction over all tasks."
)
FEW_SEEDS = f"With fewer than {MIN_SEEDS} seeds, p is about these runs and not about the methods."


@dataclass
class RunDiff:
    """The comparison of two runs."""

    a: Result
    b: Result
    settings: list[tuple[str, str, str]]  # key and both values of each setting that differs
    scores: list[tuple[str, float | None, float | None]]  # name and both values of each score
    test: str  # the result of the paired test, or the reason why the runs were not tested
    p: float | None = None  # p-value of the paired randomisation test on the task's score
    changes: pd.DataFrame | None = None  # the examples with different predictions (id, source, target, a, b, verdict)


@dataclass(frozen=True)
class MethodDiff:
    """The comparison of two methods."""

    a: str
    b: str
    tasks: pd.DataFrame  # columns: section, task, a, b, seeds, p (with Holm's correction over all tasks), note
    problems: list[str]  # a message for each file that could not be used


def compare(outputs: Path, a: str, b: str) -> RunDiff | MethodDiff:
    """Compare two methods that have runs under ``outputs``, or two runs, given as ids, beginnings of ids, or paths."""
    methods = {found.method for found in stored_results(outputs) if isinstance(found, Result)}
    if a in methods and b in methods:
        return diff_methods(outputs, a, b)
    if a in methods or b in methods:
        method, other = (a, b) if a in methods else (b, a)
        raise KronaError(
            f"{method!r} is a method, and no run under {outputs} has the method {other!r}. "
            "Give two runs or two methods."
        )
    return diff_runs(find_run(outputs, a).path, find_run(outputs, b).path)


def diff_runs(a: Path, b: Path) -> RunDiff:
    """Compare the runs in two folders.

    Raises:
        KronaError: a run cannot be read.
    """
    folders = RunFolder(a), RunFolder(b)
    result_a, result_b = (folder.read() for folder in folders)
    diff = RunDiff(result_a, result_b, _differing_settings(result_a, result_b), [*_scores(result_a, result_b)], "")
    try:
        outcomes = [read_outcomes(folder.read(), folder.predictions) for folder in folders]
    except KronaError as error:
        diff.test = f"None: {error}."
        return diff
    answers = [{split: of_split.answers for split, of_split in by_split.items()} for by_split in outcomes]
    if reason := _why_untested(result_a, result_b, answers):
        diff.test = f"None: {reason}."
        return diff
    diff.p, diff.test = _run_test(result_a, *(split["test"] for split in answers))
    rows = [_read_texts(folder.predictions) for folder in folders]
    diff.changes = _find_changes(*rows, classes=bool(answers[0]["test"].classes))
    return diff


def _differing_settings(a: Result, b: Result) -> list[tuple[str, str, str]]:
    """Return the key and both values of each setting that differs.

    A fingerprint that only one of the runs records does not count as different.
    """
    finished = a.status == b.status == "done"  # an unfinished run has not recorded the shape of A that it used
    sides, defaults = [], recorded_defaults((a, b))
    for result in (a, b):
        settings = {"seed": str(result.seed), **describe_settings(result, defaults)}
        if finished and (used := used_shape(result)) is not None:
            settings["method.kron_factors"] = used
            settings.pop("method.fit_factors", None)
        sides.append(settings)
    keys = [key for key in {**sides[0], **sides[1]} if key not in CONTENT or all(key in side for side in sides)]
    both = [(key, *(side.get(key, "not set") for side in sides)) for key in keys]
    return [(key, x, y) for key, x, y in both if x != y]


def _scores(a: Result, b: Result) -> Iterator[tuple[str, float | None, float | None]]:
    for split in ("test", "dev"):
        scores_a, scores_b = (getattr(result, split) or {} for result in (a, b))
        yield f"{split} score", scores_a.get("score"), scores_b.get("score")
        parts = scores_a.get("parts", {}), scores_b.get("parts", {})
        for metric in dict.fromkeys([*parts[0], *parts[1]]):
            yield f"{split} {metric}", parts[0].get(metric), parts[1].get(metric)


def _why_untested(a: Result, b: Result, answers: Sequence[dict[str, Answers]]) -> str | None:
    for result, known in zip((a, b), answers, strict=True):
        if result.status != "done":
            return f"{result.run_id} is {result.status}"
        if "test" not in known:
            return f"{result.run_id} has no test predictions in predictions.jsonl"
    if a.task != b.task:
        return f"the runs have different tasks, {a.task} and {b.task}"
    answers_a, answers_b = (known["test"] for known in answers)
    if not np.array_equal(answers_a.targets, answers_b.targets):
        return f"the test sets of the runs differ ({len(answers_a)} and {len(answers_b)} examples)"
    return None


def _run_test(result: Result, a: Answers, b: Answers) -> tuple[float, str]:
    metrics = score_metrics(result.config["task"])
    p = swap_test(a, b, metrics).p
    words = []
    if a.classes:
        right_a, right_b = a.hits, b.hits
        only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        words.append(f"Only A right: {only_a}; only B right: {only_b}.")
        if metrics == ["accuracy"] and a.groups is None:
            words.append(f"Exact McNemar: p {_equal(mcnemar(only_a, only_b))}.")
    words.append(f"Randomisation test on {' and '.join(metrics)}, 10,000 swaps: p {_equal(p)}.")
    return p, " ".join(words)


def _read_texts(path: Path) -> pd.DataFrame:
    """Return the source, the target and the prediction of each test example. The index of the table is the id."""
    rows = pd.DataFrame(read_rows(path, "split", "id", "source", "target", "prediction"))
    return rows[rows.split == "test"].drop(columns="split").set_index("id")


def _find_changes(a: pd.DataFrame, b: pd.DataFrame, *, classes: bool) -> pd.DataFrame:
    """Return the examples with different predictions, sorted by verdict or, in a regression, by the change in error."""
    both = a.rename(columns={"prediction": "a"}).join(b.prediction.rename("b"), how="inner")
    both = both[both.a.str.strip() != both.b.str.strip()].copy()
    target = both.target.str.strip()
    if classes:
        right_a, right_b = both.a.str.strip() == target, both.b.str.strip() == target
        both["verdict"] = np.select([right_a, right_b], VERDICTS[:2], VERDICTS[2])
        both["order"] = both.verdict.map(VERDICTS.index)
    else:
        numbers = [pd.to_numeric(side, errors="coerce") for side in (both.a, both.b, target)]
        change = (numbers[1] - numbers[2]).abs() - (numbers[0] - numbers[2]).abs()
        both["verdict"] = ["not a number" if np.isnan(gap) else f"error {gap:+.1f}" for gap in change]
        both["order"] = -change.abs().fillna(0.0)
    return both.rename_axis("id").reset_index().sort_values("order", kind="stable", ignore_index=True)


def diff_methods(outputs: Path, a: str, b: str) -> MethodDiff:
    """Compare two methods on each task for which at least one of them has runs.

    If a method has no run or several variants on a task, the task has a note instead of a test. Variants that only
    trials of `krona tune` have are omitted if the method has another variant on the task.

    Raises:
        KronaError: one of the methods has no finished run.
    """
    runs, problems = load_runs([outputs])
    done = [run for run in runs if run.done and run.method in (a, b)]
    for name in (a, b):
        if all(run.method != name for run in done):
            raise KronaError(f"The method {name!r} has no finished run under {outputs}.")
    groups, studies = group_by(done, lambda run: (run.section, run.task)), study_files(outputs)
    rows = [
        {"section": section.heading(group), "task": task, **_task_diff(group, (a, b), studies)}
        for (section, task), group in groups.items()
    ]
    tasks = pd.DataFrame(rows).sort_values(["section", "task"], ignore_index=True)
    tested = tasks.p.notna()
    tasks.loc[tested, "p"] = holm([*tasks.p[tested]])
    return MethodDiff(a, b, tasks, problems)


def _task_diff(runs: Runs, methods: tuple[str, str], studies: Collection[str | None]) -> dict[str, Any]:
    cells, notes, first = [], [], []
    for name in methods:
        of_method = [run for run in runs if run.method == name]
        kept = {run.variant for run in of_method if run.sweep not in studies}  # variants with runs besides trials
        of_method = [run for run in of_method if run.variant in kept] or of_method
        first += of_method[:1]
        variants = len({run.variant for run in of_method})
        cell = score_cell(of_method, "test", examine_run) if variants == 1 else None
        if cell is None:
            reasons = {0: f"no run of {name}", 1: f"{name} has no test score"}
            notes.append(reasons.get(variants, f"{name} has {variants} variants, so give two runs"))
        cells.append(cell)
    cell_a, cell_b = cells
    scores = {"a": cell_a and cell_a.value, "b": cell_b and cell_b.value}
    row = {**scores, "seeds": "", "p": float("nan"), "note": "; ".join(notes)}
    if cell_a is None or cell_b is None:
        return row
    if differing := differing_training(*first):
        return {**row, "note": f"not the same training: {format_differing(differing)}"}
    difference = compare_cells([cell_a, cell_b]).get((0, 1))
    if difference is None:
        counts = sorted({len(cell_a.by_seed), len(cell_b.by_seed)})
        few = len(counts) > 1 and counts[0] == 1
        return {**row, "note": "one of the methods has one seed" if few else "no predictions of the same test set"}
    note = "" if difference.of_methods else FEW_SEEDS
    return {**row, "seeds": format_seeds(difference.seeds), "p": difference.p, "note": note}


def render(diff: RunDiff | MethodDiff, *, width: int | None = 100, examples: int = 5) -> str:
    """Return a comparison as text.

    Args:
        width: the width of the terminal. None means that lines are not wrapped.
        examples: show at most this number of changed examples of two runs.
    """
    lines = _methods(diff, width) if isinstance(diff, MethodDiff) else _runs(diff, width, examples)
    return escape_control_characters("\n".join(line.rstrip() for line in lines)) + "\n"


def _runs(diff: RunDiff, width: int | None, examples: int) -> list[str]:
    lines = [f"A  {diff.a.run_id}", f"B  {diff.b.run_id}", "", "Settings that differ"]
    settings = [(name, setting_text(name, x), setting_text(name, y)) for name, x, y in diff.settings]
    lines += _table(("", "A", "B"), settings, width) if settings else ["  none: both runs have the same settings"]
    rows = [(name, _score(x), _score(y), _gap(x, y)) for name, x, y in diff.scores]
    lines += ["", "Scores", *_table(("", "A", "B", "B − A"), rows, width)]
    lines += ["", "Paired test", *_wrap(diff.test, width)]
    if diff.changes is not None and len(diff.changes):
        changes = diff.changes
        kinds = changes.verdict.where(~changes.verdict.str.startswith("error"), "error changed")
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.value_counts(sort=False).items())
        lines += ["", *_wrap(f"Examples with different predictions: {len(changes)} ({counted})", width, "")]
        turn = changes.groupby(kinds).cumcount()  # if possible, show the same number of each kind
        shown = changes.loc[turn.sort_values(kind="stable").index[:examples]]
        task = diff.a.config["task"]
        for change in changes[changes.index.isin(shown.index)].itertuples():
            truth, a, b = (decode_label(text, task) for text in (change.target, change.a, change.b))
            head = f"{change.verdict}  {change.id}: target {truth}, A predicts {a}, B predicts {b}"
            lines += [*_wrap(head, width), *_wrap(change.source, width, "      ", most=6)]
        if len(changes) > examples:
            more = len(changes) - examples
            lines += _wrap(f"… and {more} more. To see all, use --examples {len(changes)}.", width)
    return lines


def _methods(both: MethodDiff, width: int | None) -> list[str]:
    lines: list[str] = []
    headings = ("", both.a, both.b, f"{both.b} − {both.a}", "p (Holm)", "seeds", "note")
    for section, tasks in groupby(both.tasks.itertuples(), key=lambda row: row.section):
        rows = [
            (row.task, _score(row.a), _score(row.b), _gap(row.a, row.b),
             NOTHING if np.isnan(row.p) else format_p(row.p), row.seeds, row.note)
            for row in tasks
        ]  # fmt: skip
        lines += [section, *_table(headings, rows, width), ""]
    lines += _wrap(METHODS_NOTE, width)
    return lines + [line for problem in both.problems for line in _wrap(f"Not used: {problem}", width)]


def _equal(p: float) -> str:
    shown = format_p(p)
    return shown if shown.startswith("<") else f"= {shown}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the lines of an indented table. In a table that is too wide, each row takes several lines."""
    text = table(headings, rows, width=None if width is None else width - 2, left=headings)
    return [f"  {line}" for line in text.plain.splitlines()]


def _wrap(text: str, width: int | None, indent: str = "  ", *, most: int | None = None) -> list[str]:
    """Return lines of at most ``width`` characters. After ``most`` lines, the text is cut with an ellipsis."""
    if width is None:
        return [indent + text]
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, max_lines=most, placeholder=" …")


def _score(value: float | None) -> str:
    return NOTHING if value is None or np.isnan(value) else f"{value:.2f}"


def _gap(a: float | None, b: float | None) -> str:
    if a is None or b is None or np.isnan(a) or np.isnan(b):
        return ""
    return f"{b - a:+.2f}".replace("-", "−")
