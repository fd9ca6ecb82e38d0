"""Test the columns for other measurements than scores.

They appear if a run has the value, and show the mean over runs.
"""

from pathlib import Path

import krona
from krona.report.build import build_report, collect
from krona.runs.forgetting import format_forgetting, loss_increase
from report.generate import make_result, write_all

LEARNED = {"places": 1, "norm": 2.0, "effective_rank": 3.25, "stable_rank": 2.0, "drift": 0.01, "by_place": {}}


def forgetting(rise: float) -> dict[str, object]:
    loss = {"0": 2.0, "0.5": 2.0 + rise / 4, "1": 2.0 + rise}
    return {"loss": loss, "objective": "span corruption", "text": "a.txt", "texts": 8, "tokens": 90}


def test_runs_that_measured_nothing_have_no_such_columns(tmp_path: Path) -> None:
    write_all(tmp_path, [make_result("lora", "rte", rows=40)])
    (table,) = collect(tmp_path).tables
    assert not {"effective", "forgetting"} & {column.key for column in table.columns}


def test_what_runs_measured_stands_beside_the_rank(tmp_path: Path) -> None:
    results = [make_result(method, "rte", seed, rows=40) for method in ("lora", "full") for seed in (0, 1)]
    for result, rise in zip(results, (0.1, 0.3, 0.8, 0.8), strict=True):
        result.learned = dict(LEARNED) if result.method == "lora" else None
        result.forgetting = forgetting(rise)
    write_all(tmp_path, results)
    (table,) = collect(tmp_path).tables
    keys = [column.key for column in table.columns]
    assert keys[keys.index("rank") + 1 :][:2] == ["effective", "forgetting"]
    cells = {row.key: (row.cells["effective"].value, round(row.cells["forgetting"].value, 6)) for row in table.rows}
    assert cells == {"lora": (3.25, 0.2), "full": (None, 0.8)}
    for kind in ("md", "html", "csv", "latex"):
        page = build_report(tmp_path, format=kind)
        assert "Effective rank" in page or "effective" in page, kind
    frame = krona.read_results(tmp_path)
    assert list(frame[frame.method == "lora"].effective_rank) == [3.25, 3.25]
    assert sorted(round(value, 6) for value in frame.forgetting) == [0.1, 0.3, 0.8, 0.8]


def test_forgetting_in_words() -> None:
    text = format_forgetting(forgetting(0.5))
    assert text.startswith("+0.500: the span corruption loss per token changes from 2.000 to 2.500 on 8 texts of a.txt")
    assert "0.5 2.125" in text
    nothing = make_result("lora", "rte", rows=40)
    assert loss_increase(nothing) is None
    nothing.forgetting = forgetting(0.0) | {"loss": {"0": 2.0, "1": None}}
    assert loss_increase(nothing) is None
    assert "not a number" in format_forgetting(nothing.forgetting)
