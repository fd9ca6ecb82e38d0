"""List the differences between rows: all pairs that were tested, and the pairs with the reference row."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from krona.formatting import NOTHING, format_p
from krona.metrics.compare_methods import MIN_SEEDS
from krona.metrics.power import POWER
from krona.report.table import Row, Table

MAX_PAIRS = 66  # the number of pairs of 12 rows on one task
LEGEND = (
    "Difference: the first row minus the second, with its 95 % interval over rows and seeds. p (Holm): "
    "corrected over {family}. Detectable: the true difference that this test detects with a probability of 80 %, "
    "without the correction."
)
NOT_ESTIMABLE = "not estimable"
ALL, REFERENCE = "all pairs of the table", "the pairs with a reference row"
COLUMNS = (
    "column", "row", "reference", "difference", "low", "high", "p", "p_holm", "detectable", "seeds", "of_methods",
    "rows",
)  # fmt: skip


def describe_limits(frame: pd.DataFrame) -> str:
    """Return the sentences about too few seeds and about differences without an interval, or an empty text."""
    few = f" With fewer than {MIN_SEEDS} seeds, the interval is about these runs and not about the methods."
    equal = " Not estimable: every example contributes equally to both scores."
    return few * (not frame["of_methods"].all()) + equal * (not frame["detectable"].all())


def reference_differences(table: Table) -> pd.DataFrame:
    """Return the difference of each tested row to the reference row of its column, in the order of the table.

    The columns are `COLUMNS`: the column's key, the names of both rows, the difference (row minus reference) and its
    95 % interval in points, the p-value, the p-value corrected over the pairs with a reference row, the true difference
    that the test detects in 80 % of cases (0 if every example contributes equally to both scores), the number of seeds
    of both rows, whether there are enough seeds for a statement about the methods, and the number of test rows.
    """
    pairs = [(b, a, column) if a is table.references[column] else (a, b, column) for a, b, column in table.p_reference]
    pairs.sort(key=lambda pair: table.rows.index(pair[0]))
    return _frame(table, pairs, table.p_reference)


def all_differences(table: Table) -> pd.DataFrame:
    """Return the differences of all pairs on the tasks, sorted by p-value, or none if there are over `MAX_PAIRS`."""
    tasks = {column.key for column in table.task_columns}
    tested = [(pair, difference) for pair, difference in table.differences.items() if pair[2] in tasks]
    pairs = [(a, b, task) if difference.value >= 0 else (b, a, task) for (a, b, task), difference in tested]
    return _frame(table, pairs if len(pairs) <= MAX_PAIRS else [], table.p_values).sort_values("p", kind="stable")


def sort_by_task(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the differences on tasks, sorted by task and difference."""
    order = {column.key: place for place, column in enumerate(table.task_columns)}
    frame = frame[frame["column"].isin(order)].sort_values("difference", ascending=False, kind="stable")
    return frame.sort_values("column", key=lambda keys: keys.map(order), kind="stable")


def format_interval(pair: Any) -> str:
    """Format the interval of a line of `reference_differences`, such as ``[−1.2, +3.4]``."""
    return f"[{pair.low:+.1f}, {pair.high:+.1f}]".replace("-", "−") if pair.detectable else NOT_ESTIMABLE


def format_seeds(seeds: tuple[int, int]) -> str:
    """Format the numbers of seeds of two rows, such as ``10`` or ``10 and 20``."""
    return " and ".join(dict.fromkeys(map(str, seeds)))


def format_differences(table: Table, frame: pd.DataFrame, family: str) -> pd.DataFrame | None:
    """Return differences as text, or None for no differences or more than `MAX_PAIRS`.

    The attribute ``attrs["legend"]`` explains the columns. ``family`` names the pairs of Holm's correction.
    """
    if not 0 < len(frame) <= MAX_PAIRS:
        return None
    labels = {column.key: column.label for column in table.columns}
    several = len(table.task_columns) > 1
    shown = pd.DataFrame([
        {
            "Pair": f"{pair.row} − {pair.reference}" + (f", {labels[pair.column]}" if several else ""),
            "Difference": f"{pair.difference:+.2f}".replace("-", "−"),
            "Interval": f"{pair.low:+.2f}…{pair.high:+.2f}".replace("-", "−") if pair.detectable else NOT_ESTIMABLE,
            "p": format_p(pair.p, 3),
            "p (Holm)": format_p(pair.p_holm, 3),
            "Detectable": f"{pair.detectable:.2f}" if pair.detectable else NOTHING,
            "Seeds": format_seeds(pair.seeds),
        }
        for pair in frame.itertuples()
    ])  # fmt: skip
    names = [*dict.fromkeys(frame["reference"])]
    title = f"Differences to {names[0] if len(names) == 1 else 'the reference'}"
    shown.attrs |= {
        "title": "Differences of all pairs" if family == ALL else title,
        "legend": LEGEND.format(family=family) + describe_limits(frame),
    }
    return shown


def _frame(
    table: Table, pairs: Sequence[tuple[Row, Row, str]], corrected: Mapping[tuple[Row, Row, str], float]
) -> pd.DataFrame:
    lines = []
    for row, reference, column in pairs:
        pair = (row, reference, column)
        sign, pair = (1, pair) if pair in table.differences else (-1, (reference, row, column))
        difference = table.differences[pair]
        low, high = sorted(sign * end for end in difference.interval)
        lines.append((
            column, row.name, reference.name, sign * difference.value + 0.0,  # 0.0 instead of -0.0
            low, high, difference.p, corrected[pair], difference.detectable(POWER), difference.seeds[::sign],
            difference.of_methods, difference.rows,
        ))  # fmt: skip
    return pd.DataFrame(lines, columns=[*COLUMNS])
