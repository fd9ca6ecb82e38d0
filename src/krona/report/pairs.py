"""Test the rows of a table in pairs, mark its cells, and format pairs as text.

All tests of a table are in one frame (`Table.pairs`). `krona.metrics.compare_methods` describes the test. Holm's
correction is applied to two families of tests:

- all pairs of rows on all tasks of a table, for the marks of the best row and of the rows that are not worse, and
- the pairs with the reference row on all tasks of a table, for the marks of the rows that differ from the reference.

The pairs of averages over tasks are corrected separately.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import nan
from typing import Any

import pandas as pd

from krona.formatting import NOTHING, format_p
from krona.metrics.compare_methods import MIN_SEEDS, Difference, average, compare
from krona.metrics.power import POWER
from krona.metrics.statistics import holm
from krona.report.table import AVERAGE, PAIRS, Cell, Row, Table
from krona.report.text import short_names, signed

ALPHA = 0.05  # the significance level of all tests
MARGIN = 1.0  # points: the margin of the equivalence test
LEGEND = (
    "Difference: the first row minus the second, with its 95 % interval over rows and seeds. p (Holm): "
    "corrected over {family}. Detectable: the true difference that this test detects with a probability of 80 %, "
    "without the correction."
)
FAMILIES = {"p_holm": "all pairs of the table", "p_reference": "the pairs with a reference row"}
NOT_ESTIMABLE = "not estimable"


def compare_rows(table: Table, family: Mapping[str, Sequence[Row]]) -> list[dict[str, Any]]:
    """Test the pairs of rows in each column of a family, mark their cells, and return a line for each pair.

    A row with too many invalid predictions counts as failed and is not tested, unless it has the best score.
    """
    tested: dict[tuple[Row, Row, str], Difference] = {}
    tops: dict[str, Row] = {}
    for column, rows in family.items():
        if len(rows) < 2:  # a single cell is not marked
            continue
        top = tops[column] = max(rows, key=lambda row: row.cells[column].value or 0.0)
        for row in rows:
            row.cells[column].best = row.cells[column].value == top.cells[column].value
        others = [row for row in rows if row is not top]
        compared = [top, *(row for row in others if row.cells[column].best or not row.cells[column].failed)]
        for row in compared:
            row.cells[column].compared = True
        differences = compare_cells([row.cells[column] for row in compared])
        tested |= {(compared[i], compared[j], column): difference for (i, j), difference in differences.items()}
    p_holm = holm([difference.p for difference in tested.values()])
    with_reference = [pair for pair in tested if table.references.get(pair[2]) in pair[:2]]
    p_reference = dict(zip(with_reference, holm([tested[pair].p for pair in with_reference]), strict=True))
    lines = []
    for (pair, difference), p in zip(tested.items(), p_holm, strict=True):
        row, other, column = pair
        if row is tops[column]:
            cell, worse = other.cells[column], p <= ALPHA and difference.value > 0
            cell.p, cell.tied = p, not worse and not cell.best
        reference = table.references.get(column)
        if row is reference or (other is not reference and difference.value < 0):
            row, other, difference = other, row, -difference
        if other is reference and p_reference[pair] <= ALPHA:
            row.cells[column].sign = 1 if difference.value > 0 else -1
        names = {"column": column, "row": row.name, "reference": other.name}
        p_values = {"p_holm": p, "p_reference": p_reference.get(pair, nan)}
        lines.append({**names, **difference_values(difference), **p_values})
    return lines


def compare_cells(cells: Sequence[Cell]) -> dict[tuple[int, int], Difference]:
    """Return the difference between the cells of each testable pair, by the positions (i, j) of the cells, with i < j.

    Cells whose metrics or test sets differ from those of the first cell are excluded. If some cells have several seeds,
    cells with one seed are excluded too, because a test of methods needs several seeds.
    """
    positions = [index for index, cell in enumerate(cells) if cell.samples and cell.test_sets == cells[0].test_sets]
    if any(cells[index].tested_seeds > 1 for index in positions):
        positions = [index for index in positions if cells[index].tested_seeds > 1]
    return {
        (i, j): average([compare(a, b) for a, b in zip(cells[i].samples, cells[j].samples, strict=True)])
        for i, j in combinations(positions, 2)
    }


def difference_values(difference: Difference, margin: float = MARGIN) -> dict[str, Any]:
    """Return a difference as the numbers of a line in a frame of pairs.

    ``detectable`` is 0 if every example contributes equally to both scores, because the error is then unknown.
    """
    low, high = difference.interval
    return {
        "difference": difference.value, "low": low, "high": high, "p": difference.p,
        "p_equivalent": difference.p_equivalent(margin), "detectable": difference.detectable(POWER),
        "seeds": difference.seeds, "rows": difference.rows, "error": difference.error, "df": difference.df,
    }  # fmt: skip


def set_pairs(table: Table, lines: Sequence[Mapping[str, Any]]) -> None:
    """Set the pairs of a table, and those with the reference row, which are sorted by column and difference.

    The frames have a column more than `PAIRS`: the ``label`` of the column of the table.
    """
    frame = table.pairs = pd.DataFrame(lines, columns=[*PAIRS])
    frame["label"] = frame["column"].map({column.key: column.label for column in table.columns})
    frame = frame[frame["p_reference"].notna()].sort_values("difference", ascending=False, kind="stable")
    order = [column.key for column in table.score_columns]
    table.reference_pairs = frame.sort_values("column", key=lambda keys: keys.map(order.index), kind="stable")


def shorten_names(table: Table) -> pd.DataFrame:
    """Return the pairs with the reference row, with the short names of the rows."""
    frame = table.reference_pairs
    shown = {*frame["row"], *frame["reference"]}
    names = short_names([row for row in table.rows if row.name in shown])
    return frame.assign(row=frame["row"].map(names), reference=frame["reference"].map(names))


def find_differences(table: Table) -> tuple[pd.DataFrame, str]:
    """Return the most important pairs of a table, and the column with their corrected p-values.

    These are the pairs with the reference or, without a reference, all pairs. If they include the mean over tasks, the
    pairs of single tasks are omitted.
    """
    frame, family = shorten_names(table), "p_reference"
    if frame.empty:
        frame, family = table.pairs, "p_holm"
    means = frame[frame["column"] == AVERAGE]
    return (means if len(means) else frame), family


def describe_limits(frame: pd.DataFrame) -> str:
    """Return the sentences about too few seeds and about differences without an interval, or an empty text."""
    few = f" With fewer than {MIN_SEEDS} seeds, the interval is about these runs and not about the methods."
    equal = " Not estimable: every example contributes equally to both scores."
    return few * any(min(seeds) < MIN_SEEDS for seeds in frame["seeds"]) + equal * (not frame["detectable"].all())


def format_interval(pair: Any, digits: int = 2) -> str:
    """Format the interval of a pair, such as ``−1.20…+3.41``."""
    return f"{signed(pair.low, digits)}…{signed(pair.high, digits)}" if pair.detectable else NOT_ESTIMABLE


def format_pairs(frame: pd.DataFrame, *, family: str = "p_holm") -> pd.DataFrame:
    """Return pairs as text. The attributes ``title`` and ``legend`` explain the frame.

    ``family`` is the column of the frame with the corrected p-values, a key of `FAMILIES`.
    """
    several = "label" in frame and frame["label"].nunique() > 1
    shown = pd.DataFrame({
        "Pair": [
            f"{pair.row} − {pair.reference}" + (f", {pair.label}" if several else "") for pair in frame.itertuples()
        ],
        "Difference": [*map(signed, frame["difference"])],
        "Interval": [*map(format_interval, frame.itertuples())],
        "p": [format_p(p, 3) for p in frame["p"]],
        "p (Holm)": [format_p(p, 3) for p in frame[family]],
        "Detectable": [f"{points:.2f}" if points else NOTHING for points in frame["detectable"]],
        "Seeds": [" and ".join(dict.fromkeys(map(str, seeds))) for seeds in frame["seeds"]],
    })  # fmt: skip
    names = [*dict.fromkeys(frame["reference"])]
    reference = names[0] if len(names) == 1 else "the reference"
    shown.attrs |= {
        "title": "Differences of all pairs" if family == "p_holm" else f"Differences to {reference}",
        "legend": LEGEND.format(family=FAMILIES[family]) + describe_limits(frame),
    }
    return shown
