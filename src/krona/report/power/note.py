"""The line below a report's table that says how small a difference its test sets can show."""

import math
from statistics import median

import numpy as np

from krona.messages import amount
from krona.metrics.answers import Answers
from krona.metrics.power import LEVEL, POWER, fewest_examples
from krona.metrics.statistics import swap_test
from krona.paper import task_label
from krona.report.table import Cell, Report, Table
from krona.report.text import number

SWAPS = 400  # they tell the spread of the null differences to 4 %
BEGINNING = "The test finds these differences four times out of five, smaller ones less often"


def add(report: Report, *, seeds: int | None = None) -> None:
    """Put the line below each table that compares methods. ``seeds``: so many of a cell were compared; None: all."""
    for table in report.tables:
        if (line := note(table, seeds)) is not None:
            table.notes.append(line)


def note(table: Table, seeds: int | None = None) -> str | None:
    """Each task's smallest difference with its examples and seeds; None where the table has no paired test."""
    found = []
    for column in (column for column in table.columns if column.kind == "task"):
        cells = [row.cells[column.key] for row in table.rows if column.key in row.cells]
        if (least := _least(cells, table.split, seeds)) is not None:
            points, examples, common = least
            counts = f"{amount(examples, 'example')}, {amount(common, 'seed')}"
            found.append(f"{task_label(column.key)} {number(points)} ({counts})")
    if not found:
        return None
    return f"{BEGINNING} (paired test, level 5 %, Holm over the column): {', '.join(found)}."


def _least(cells: list[Cell], split: str, seeds: int | None) -> tuple[float, int, int] | None:
    """Points, examples and common seeds of the median pair of the best cell and another.

    A difference is found with a power of 80 % at (z of the level + 0.84) · the spread of the test's null differences;
    of classes never below the fewest examples that can give the level. The level is Holm's first, 5 % / pairs.
    """
    from scipy.special import ndtri

    best = next((cell for cell in cells if cell.best), None)
    others = [cell for cell in cells if cell.p is not None]
    if best is None or not others:
        return None
    level = LEVEL / len(others)
    times = float(ndtri(1 - level / 2) + ndtri(POWER))
    one, found = _answers(best, split, seeds), list[tuple[float, int, int]]()
    for cell in others:
        other = _answers(cell, split, seeds)
        common = sorted(one.keys() & other.keys())
        if not common:
            continue
        a, b = ([side[seed] for seed in common] for side in (one, other))
        spread = float(np.std(swap_test(a, b, best.runs[0].metrics, swaps=SWAPS).null))
        floor = 100 * fewest_examples(level) / len(a[0]) if a[0].classes else 0.0
        if spread and math.isfinite(spread):
            found.append((max(times * spread, floor), len(a[0]), len(common)))
    if not found:
        return None
    return median(points for points, _, _ in found), found[0][1], min(common for _, _, common in found)


def _answers(cell: Cell, split: str, seeds: int | None) -> dict[int, Answers]:
    runs = sorted(cell.runs, key=lambda run: run.result.seed)[:seeds]
    return {run.result.seed: run.packed[split] for run in runs if split in run.packed}
