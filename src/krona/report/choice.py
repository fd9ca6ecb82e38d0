"""Marks of the best rows. Among several settings of one method, dev scores choose, never test scores."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from krona.report.cells import CellScores, PairedTests, average
from krona.report.grouping import Group
from krona.report.layouts import Layout

MOST_RUNS = 5_000  # more of them, and a report shows the best rows
MOST_CELLS = 240  # of such a report's tables together: each is resampled and compared with others
FEWEST_ROWS = 3  # of each table, however many tables there are
MOST_SEEDS = 3  # of a cell, for its test set's interval and the paired tests; its mean is over all

CHOSEN = "Several settings of a method: the best is marked by dev scores; test scores are shown beside them."
AMONG = "Of a method's several rows, only the one with the best dev score can be marked as the best."


def marked(
    layout: Layout, groups: list[Group], tasks: list[str], scored: list[dict[str, CellScores | None]]
) -> dict[int, CellScores]:
    """The averages of rows that have one; marks the best of each column and what ties with it."""
    tests = PairedTests()
    for place, task in enumerate(tasks):
        found = {i: cell for i, row in enumerate(scored) if (cell := row[task]) is not None}
        fit = [found[i] for i in _fit(groups, found, [task], layout.split)]
        tests.mark_best(list(found.values()), fit=fit, seed=place)
    if not layout.average or len(tasks) < 2:
        return {}
    whole = {i: [cell for cell in row.values() if cell is not None] for i, row in enumerate(scored)}
    averages = {i: average(parts) for i, parts in whole.items() if len(parts) == len(tasks)}
    places = list(averages)
    fit_places = [places.index(i) for i in _fit(groups, places, tasks, layout.split)]
    tests.mark_best_average(list(averages.values()), [whole[i] for i in places], fit=fit_places)
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
