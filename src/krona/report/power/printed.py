"""The paper's printed differences: how many examples each is, and the p-values that it can have."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from krona.messages import KronaError, did_you_mean
from krona.metrics.power import Assumed, best_case, examples_apart, realistic
from krona.paper import TASKS, PaperTable, read_paper_table
from krona.report.power.glue import MNLI_DEV, TEST_SETS

WITH_TASKS = ("1", "4", "5", "6", "9")


@dataclass(frozen=True)
class Printed:
    """Two printed scores of a task. ``examples`` and ``best`` are None for a correlation, which counts none."""

    task: str
    better: str
    other: str
    difference: float
    examples: int | None
    best: float | None
    realistic: float


def printed(number: str, tasks: Sequence[str], *, rows: Sequence[str] = (), assumed: Assumed) -> list[Printed]:
    """Neighbours in each column, from the best down; with ``rows`` all pairs of these rows instead.

    Raises KronaError for a table without scores by task, and for an unknown row.
    """
    table = read_paper_table(number)
    if number not in WITH_TASKS:
        raise KronaError(f"Table {number} prints no scores by task: choose from {', '.join(WITH_TASKS)}")
    if len(rows) == 1:
        raise KronaError(f"--pair {rows[0]}: a pair is two rows, as in krona,lora")
    for row in rows:
        if row not in table.rows:
            raise KronaError(f"--pair {row}: {did_you_mean(row, table.rows)}")
    found = []
    for task in (task for task in TASKS if task in table.columns and task in tasks):
        ranked = sorted(rows or table.rows, key=lambda row: -table.rows[row][task])
        pairs = combinations(ranked, 2) if rows else pairwise(ranked)
        found += [_pair(table, task, a, b, assumed) for a, b in pairs]
    return found


def _pair(table: PaperTable, task: str, a: str, b: str, assumed: Assumed) -> Printed:
    errors = MNLI_DEV if table.number == "9" else TEST_SETS[task]
    one, two = table.rows[a][task], table.rows[b][task]
    examples = examples_apart(errors, one, two) if errors.counts else None
    best = None if examples is None else best_case(examples)
    return Printed(task, a, b, round(one - two, 2), examples, best, realistic(errors, one, two, assumed))
