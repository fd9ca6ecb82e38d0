"""List the pairs of rows that were tested, with the difference, its interval and the detectable difference."""

import pandas as pd

from krona.formatting import format_p
from krona.metrics.power import POWER
from krona.report.table import Table

MAX_PAIRS = 66  # the number of pairs of 12 rows on one task
LEGEND = (
    "Difference: the first row minus the second, with its 95 % interval over {source}. p (Holm): corrected over all "
    "pairs of the table. Detectable: the true difference that this test detects with a probability of 80 %, without "
    "the correction."
)


def list_pairs(table: Table) -> pd.DataFrame | None:
    """Return a table with a row for each pair of rows that was tested on a task, sorted by p-value.

    Return None if no pairs or more than `MAX_PAIRS` pairs were tested. The attribute ``attrs["legend"]`` explains the
    columns.
    """
    tasks = {column.key: column.label for column in table.task_columns}
    found = {place: one for place, one in table.differences.items() if place[2] in tasks}
    if not 0 < len(found) <= MAX_PAIRS:
        return None
    lines = []
    for a, b, task in sorted(found, key=lambda place: found[place].p):
        one = found[a, b, task]
        first, second = (a, b) if one.value >= 0 else (b, a)
        low, high = one.interval if one.value >= 0 else (-one.interval[1], -one.interval[0])
        lines.append({
            "Pair": f"{first.name} − {second.name}" + (f", {tasks[task]}" if len(tasks) > 1 else ""),
            "Difference": f"+{abs(one.value):.2f}",
            "Interval": f"{low:+.2f}…{high:+.2f}".replace("-", "−"),
            "p": format_p(one.p, 3),
            "p (Holm)": format_p(table.p_values[a, b, task], 3),
            "Detectable": f"{one.detectable(POWER):.2f}",
        })  # fmt: skip
    frame = pd.DataFrame(lines)
    source = "rows and seeds" if all(a.cell(task).of_methods for a, _, task in found) else "rows, for these runs only"
    frame.attrs |= {"title": "Differences of all pairs", "legend": LEGEND.format(source=source)}
    return frame
