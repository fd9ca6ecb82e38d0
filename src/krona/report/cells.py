"""Cells of scores: means, both intervals, the row's average, the best and what ties with it.

Among several settings of one method, dev scores choose the best, never test scores.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from krona.metrics.answers import Answers
from krona.metrics.metric import Floats
from krona.metrics.statistics import SwapTest, bootstrap, holm, interval_of, p_value, swap_test, t_interval
from krona.paper import task_label
from krona.report.grouping import Group
from krona.report.layouts import Layout
from krona.report.selection import StoredRun
from krona.report.table import Cell, seed_range
from krona.runs.constant_predictions import remarks

ALPHA = 0.05
METRICS = {"accuracy": "acc", "f1": "F1", "macro_f1": "macro F1", "matthews": "MCC", "pearson": "Pearson"}
METRICS |= {"spearman": "Spearman"}
MOST_RUNS = 5_000  # more of them, and a report shows the best rows
MOST_CELLS = 240  # of such a report's tables together: each is resampled and compared with others
FEWEST_ROWS = 3  # of each table, however many tables there are
MOST_SEEDS = 3  # of a cell, for its test set's interval and the paired tests; its mean is over all
CHOSEN = "Several settings of a method: the best is marked by dev scores; test scores are shown beside them."
AMONG = "Of a method's several rows, only the one with the best dev score can be marked as the best."


@dataclass
class CellScores:
    """A cell with what its column and its row still need of it."""

    cell: Cell
    by_seed: dict[int, float]
    answers: dict[int, Answers]  # empty where the seeds were not scored on one test set
    metrics: list[str]
    draws: Floats | None = None  # the mean score on bootstrapped test sets


def score_cell(runs: Sequence[StoredRun], split: str, seeds: int | None = None) -> CellScores | None:
    """The finished runs of one method on one task; None where there are none. ``seeds``: whose predictions are read."""
    done = sorted((run for run in runs if run.score(split) is not None), key=lambda run: run.result.seed)
    if not done:
        return None
    by_seed = {run.result.seed: run.score(split) or 0.0 for run in done}
    values = list(by_seed.values())
    cell = Cell(float(np.mean(values)), t_interval(values), seed_range=seed_range(values), runs=done)
    scored = CellScores(cell, by_seed, {}, done[0].metrics)
    for run in done[:seeds]:
        for remark in remarks(run.whole, run.packed, split):
            cell.remarks.setdefault(remark, []).append(run.result.seed)
    answers = {run.result.seed: run.packed[split] for run in done[:seeds] if split in run.packed}
    first = next(iter(answers.values()), None)
    if first is not None and all(np.array_equal(one.truth, first.truth) for one in answers.values()):
        scored.answers = answers
        scored.draws = bootstrap(list(answers.values()), scored.metrics)
        cell.test_interval = interval_of(scored.draws)
    return scored


def metric_label(found: CellScores | None) -> str:
    """``F1, acc``: what a column's scores are the mean of; empty without a score."""
    return "" if found is None else ", ".join(METRICS.get(name, name) for name in found.metrics)


def average(parts: Sequence[CellScores]) -> CellScores:
    """The mean over tasks: its interval is over the seeds that every task has, its test interval over all test sets."""
    seeds = set.intersection(*(set(part.by_seed) for part in parts))
    by_seed = {seed: float(np.mean([part.by_seed[seed] for part in parts])) for seed in sorted(seeds)}
    mean = float(np.mean([part.cell.value for part in parts]))
    values = list(by_seed.values())
    runs = [run for part in parts for run in part.cell.runs]
    cell = Cell(mean, t_interval(values), seed_range=seed_range(values), runs=runs)
    for part in parts:
        task = task_label(part.cell.runs[0].result.task)
        warnings = {remark: seeds for remark, seeds in part.cell.remarks.items() if remark.warns}
        cell.remarks |= {replace(remark, text=f"{task}: {remark.text}"): seeds for remark, seeds in warnings.items()}
    draws = [part.draws for part in parts if part.draws is not None]
    scored = CellScores(cell, by_seed, {}, [])
    if len(draws) == len(parts):
        # Tasks are independent: each is shuffled anew, as its draws came from the same seeded generator.
        rng = np.random.default_rng(0)
        scored.draws = np.mean([rng.permutation(one) for one in draws], axis=0)
        cell.test_interval = interval_of(scored.draws)
    return scored


def paired_test(a: CellScores, b: CellScores, *, seed: int = 0) -> SwapTest | None:
    """On the seeds that both have; None without any, or on different test sets."""
    seeds = sorted(a.answers.keys() & b.answers.keys())
    if a.metrics != b.metrics:
        return None
    try:
        return swap_test([a.answers[s] for s in seeds], [b.answers[s] for s in seeds], a.metrics, seed=seed)
    except ValueError:  # no seed in common, or another test set
        return None


class PairedTests:
    """Tests of cells against others, each made once: a column's best is often in the row of the best average too."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], SwapTest | None] = {}

    def of(self, a: CellScores, b: CellScores, *, seed: int) -> SwapTest | None:
        key = (id(a), id(b))
        if key not in self.known:
            self.known[key] = paired_test(a, b, seed=seed)
        return self.known[key]

    def mark_best(
        self, scored: Mapping[int, CellScores], parts: Mapping[int, Sequence[CellScores]], *, fit: Sequence[int],
        seed: int = 0,
    ) -> None:  # fmt: skip
        """Mark the highest mean among the rows ``fit``, and the rows not significantly different from it (Holm).

        parts: of each row the cells that its score is the mean of, one for each task. An example is swapped in its
        own task, and the tasks' differences are averaged. seed: of the first task.
        """
        if len(scored) < 2:  # a lone cell is the best of nothing
            return
        top = max(fit, key=lambda i: scored[i].cell.value or 0.0)
        scored[top].cell.best = True
        found: list[tuple[Cell, float]] = []
        for i in (i for i in scored if i != top):
            pairs = zip(parts[i], parts[top], strict=True)
            tests = [self.of(a, b, seed=seed + task) for task, (a, b) in enumerate(pairs)]
            known = [test for test in tests if test is not None]
            if len(known) == len(tests):
                null = np.mean([test.null for test in known], axis=0)
                found.append((scored[i].cell, p_value(float(np.mean([test.difference for test in known])), null)))
        for (cell, _), p in zip(found, holm([p for _, p in found]), strict=True):
            cell.p, cell.tied = p, p > ALPHA


def marked(
    layout: Layout, groups: list[Group], tasks: list[str], scored: list[dict[str, CellScores | None]]
) -> dict[int, CellScores]:
    """Mark the best of each column and what ties with it; return the averages of rows that have one."""
    tests = PairedTests()
    for place, task in enumerate(tasks):
        found = {i: cell for i, row in enumerate(scored) if (cell := row[task]) is not None}
        fit = _fit(groups, found, [task], layout.split)
        tests.mark_best(found, {i: [cell] for i, cell in found.items()}, fit=fit, seed=place)
    if not layout.average or len(tasks) < 2:
        return {}
    whole = {i: [cell for cell in row.values() if cell is not None] for i, row in enumerate(scored)}
    averages = {i: average(parts) for i, parts in whole.items() if len(parts) == len(tasks)}
    tests.mark_best(averages, whole, fit=_fit(groups, averages, tasks, layout.split))
    return averages


def _fit(groups: Sequence[Group], places: Iterable[int], tasks: Sequence[str], split: str) -> list[int]:
    """The rows among ``places`` that may be the best: on test only each method's best row on dev."""
    if split != "test":
        return list(places)
    of_method = defaultdict(list)
    for place in places:
        of_method[groups[place].key].append(place)
    return [max(rows, key=lambda place: _on_dev(groups[place], tasks)) for rows in of_method.values()]


def _on_dev(one: Group, tasks: Sequence[str]) -> float:
    """The mean over tasks of the mean over seeds; 0 where dev was not scored."""
    scores = [[run.score("dev") or 0.0 for run in one.runs[task] if run.status == "done"] for task in tasks]
    return float(np.mean([np.mean(found) for found in scores]))


def best_groups(groups: Sequence[Group], split: str, *, rows: int) -> tuple[list[Group], list[str]]:
    """The ``rows`` with the best mean score, in the order given, and a note of what is left out.

    Rows with scores on more tasks come first; those without any run stay, because a table shows what is missing.
    """
    filled = [one for one in groups if one.runs]
    best = sorted(filled, key=lambda one: _standing(one, split), reverse=True)[:rows]
    kept = {id(one) for one in best}
    notes = [f"Over {MOST_RUNS:,} runs: the first {MOST_SEEDS} seeds of a cell are resampled and compared."]
    if len(best) < len(filled):
        notes.insert(0, f"The best {rows} of {len(filled):,} rows: --where or --sweep shows others.")
    return [one for one in groups if id(one) in kept or not one.runs], notes


def _standing(one: Group, split: str) -> tuple[int, float]:
    scores = [[score for run in runs if (score := run.score(split)) is not None] for runs in one.runs.values()]
    means = [float(np.mean(found)) for found in scores if found]
    return len(means), float(np.mean(means)) if means else 0.0
