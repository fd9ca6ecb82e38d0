"""What a table shows of very many runs: a page of it, the best rows, not tens of thousands that nobody reads."""

from collections.abc import Sequence

import numpy as np

from krona.report.grouping import Group

MOST_RUNS = 5_000  # more of them, and a report shows the best rows
MOST_CELLS = 240  # of such a report's tables together: each is resampled and compared with others
FEWEST_ROWS = 3  # of each table, however many tables there are
MOST_SEEDS = 3  # of a cell, for its test set's interval and the paired tests; its mean is over all


def best_groups(groups: Sequence[Group], split: str, *, rows: int) -> tuple[list[Group], list[str]]:
    """The ``rows`` with the best mean score, in the order given, and a note of what is left out.

    Rows with scores on more tasks go before; those without any run stay, as what is missing is part of a table.
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
