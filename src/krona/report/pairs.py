"""List the differences between rows: all pairs that were tested, and the pairs with the reference row."""

from typing import Any

import pandas as pd

from krona.formatting import NOTHING, format_p
from krona.metrics.compare_methods import MIN_SEEDS
from krona.metrics.power import POWER
from krona.report.table import Row, Table

MAX_PAIRS = 66  # the number of pairs of 12 rows on one task
LEGEND = (
    "Difference: the first row minus the second, with its 95 % interval over rows and seeds.{few_seeds} p (Holm): "
    "corrected over {family}. Detectable: the true difference that this test detects with a probability of 80 %, "
    "without the correction."
)
NOT_ESTIMABLE = "not estimable"
EQUAL = f" {NOT_ESTIMABLE.capitalize()}: every example contributes equally to both scores."
FEW_SEEDS = f" With fewer than {MIN_SEEDS} seeds, the interval is about these runs and not about the methods."
ALL, REFERENCE = "all pairs of the table", "the pairs with a reference row"
COLUMNS = (
    "column", "row", "reference", "difference", "low", "high", "p", "p_holm", "detectable", "seeds", "of_methods",
    "rows",
)  # fmt: skip


def describe_few_seeds(frame: pd.DataFrame) -> str:
    """Return the sentence for differences of which some have too few seeds, otherwise an empty text."""
    return "" if frame["of_methods"].all() else FEW_SEEDS


def reference_differences(table: Table) -> pd.DataFrame:
    """Return the difference of each tested row to the reference row of its column, in the order of the table.

    The columns are `COLUMNS`: the column's key, the names of both rows, the difference (row minus reference) and its
    95 % interval in points, the p-value, the p-value corrected over the pairs with a reference row, the true difference
    that the test detects in 80 % of cases (0 if every example contributes equally to both scores), the number of seeds
    of both rows, whether there are enough seeds for a statement about the methods, and the number of test rows.
    """
    pairs = [(b, a, column) if a is table.references[column] else (a, b, column) for a, b, column in table.p_reference]
    pairs.sort(key=lambda pair: table.rows.index(pair[0]))
    lines = [_line(table, *pair, table.p_reference) for pair in pairs]
    return pd.DataFrame(lines, columns=[*COLUMNS])


def format_interval(pair: Any) -> str:
    """Format the interval of a line of `reference_differences`, such as ``[−1.2, +3.4]``."""
    return f"[{pair.low:+.1f}, {pair.high:+.1f}]".replace("-", "−") if pair.detectable else NOT_ESTIMABLE


def format_seeds(seeds: tuple[int, int]) -> str:
    """Format the numbers of seeds of two rows, such as ``10`` or ``10 and 20``."""
    return " and ".join(dict.fromkeys(map(str, seeds)))


def list_reference_pairs(table: Table) -> pd.DataFrame | None:
    """Return the differences to the reference row on each task as text, sorted by task and difference.

    Return None if no pairs or more than `MAX_PAIRS` pairs were tested.
    """
    frame = reference_differences(table)
    names = [*dict.fromkeys(frame["reference"])]
    label = names[0] if len(names) == 1 else "the reference"
    order = {column.key: place for place, column in enumerate(table.task_columns)}
    frame = frame[frame["column"].isin(order)].sort_values("difference", ascending=False, kind="stable")
    frame = frame.sort_values("column", key=lambda keys: keys.map(order), kind="stable")
    return _as_text(table, frame, f"Differences to {label}", REFERENCE)


def list_pairs(table: Table) -> pd.DataFrame | None:
    """Return a table with a row for each pair of rows that was tested on a task, sorted by p-value.

    Return None if no pairs or more than `MAX_PAIRS` pairs were tested. The attribute ``attrs["legend"]`` explains the
    columns.
    """
    tasks = {column.key for column in table.task_columns}
    pairs = {pair: difference for pair, difference in table.differences.items() if pair[2] in tasks}
    if len(pairs) > MAX_PAIRS:
        return None
    lines = [
        _line(table, *((a, b) if difference.value >= 0 else (b, a)), task, table.p_values)
        for (a, b, task), difference in pairs.items()
    ]
    frame = pd.DataFrame(lines, columns=[*COLUMNS]).sort_values("p", kind="stable")
    return _as_text(table, frame, "Differences of all pairs", ALL)


def _line(
    table: Table, row: Row, reference: Row, column: str, corrected: dict[tuple[Row, Row, str], float]
) -> dict[str, Any]:
    pair = (row, reference, column)
    sign, pair = (1, pair) if pair in table.differences else (-1, (reference, row, column))
    difference = table.differences[pair]
    low, high = sorted(sign * end for end in difference.interval)
    values = (
        column, row.name, reference.name, sign * difference.value + 0.0,  # 0.0 instead of -0.0
        low, high, difference.p, corrected[pair], difference.detectable(POWER), difference.seeds[::sign],
        difference.of_methods, difference.rows,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _as_text(table: Table, frame: pd.DataFrame, title: str, family: str) -> pd.DataFrame | None:
    if not 0 < len(frame) <= MAX_PAIRS:
        return None
    labels = {column.key: column.label for column in table.task_columns}
    lines = [
        {
            "Pair": f"{pair.row} − {pair.reference}" + (f", {labels[pair.column]}" if len(labels) > 1 else ""),
            "Difference": f"{pair.difference:+.2f}".replace("-", "−"),
            "Interval": f"{pair.low:+.2f}…{pair.high:+.2f}".replace("-", "−") if pair.detectable else NOT_ESTIMABLE,
            "p": format_p(pair.p, 3),
            "p (Holm)": format_p(pair.p_holm, 3),
            "Detectable": f"{pair.detectable:.2f}" if pair.detectable else NOTHING,
            "Seeds": format_seeds(pair.seeds),
        }
        for pair in frame.itertuples()
    ]
    shown = pd.DataFrame(lines)
    few_seeds = describe_few_seeds(frame)
    equal = "" if frame["detectable"].all() else EQUAL
    shown.attrs |= {"title": title, "legend": LEGEND.format(few_seeds=few_seeds, family=family) + equal}
    return shown
