"""Test the columns for other measurements than scores.

They appear if a run has the value, and show the mean over runs.
"""

from pathlib import Path

import krona
from report.generate import collected, make_result

LEARNED = {"places": 1, "norm": 2.0, "effective_rank": 3.25, "stable_rank": 2.0, "drift": 0.01, "by_place": {}}


def test_what_runs_measured_stands_beside_the_rank(tmp_path: Path) -> None:
    results = [make_result(method, "rte", seed, rows=40) for method in ("lora", "full") for seed in (0, 1)]
    for result in results:
        result.learned = dict(LEARNED) if result.method == "lora" else None
    (table,) = collected(tmp_path, results).tables
    keys = [column.key for column in table.columns]
    assert keys[keys.index("rank") + 1 :][0] == "effective"
    cells = {row.key: row.cells["effective"].value for row in table.rows}
    assert cells == {"lora": 3.25, "full": None}

    frame = krona.read_results(tmp_path)
    assert list(frame[frame.method == "lora"].effective_rank) == [3.25, 3.25]
