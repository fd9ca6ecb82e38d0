"""Test that a table with very many rows shows only the best rows, without tests, and says so."""

from pathlib import Path

import pytest

from krona.report import build
from krona.runs import predictions
from report.generate import grid, note_texts, write_all

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for place, lr in enumerate(RATES):
        change, skill = {"optimizer.lr": lr}, 0.5 + place / 10
        write_all(folder, grid(["lora"], ["rte"], rows=30, change=change, skill=skill, sweep=None))
    return folder


def test_of_many_the_best_rows_are_shown_in_the_tables_order(outputs, monkeypatch):
    (whole,) = build.collect(outputs).tables
    assert len(whole.rows) == len(RATES)
    assert not any("rows are shown" in note for note in note_texts(whole))
    means = [row.cells["rte"].value for row in whole.rows]
    best = sorted(range(len(means)), key=means.__getitem__)[-2:]
    monkeypatch.setattr(build, "MAX_ROWS", 2)
    (table,) = build.collect(outputs).tables
    assert [row.differs for row in table.rows] == [whole.rows[i].differs for i in sorted(best)]
    assert [row.cells["rte"].value for row in table.rows] == [means[i] for i in sorted(best)]
    assert any("best 2 of 5 rows are shown" in note for note in note_texts(table))


@pytest.mark.parametrize(("limit", "rows"), [("MAX_ROWS", 2), ("MAX_RUNS", 5)])
def test_of_many_no_predictions_are_read_and_nothing_is_tested(outputs, monkeypatch, limit, rows):
    monkeypatch.setattr(build, limit, 2)
    read: list[Path] = []
    monkeypatch.setattr(predictions, "read_rows", lambda path, *columns, **options: read.append(path) or [])
    report = build.collect(outputs)
    assert read == []
    cells = [row.cells["rte"] for row in report.tables[0].rows]
    assert [(cell.seeds, cell.test_interval, cell.p) for cell in cells] == [([0, 1, 2], None, None)] * rows
    assert any("no intervals over examples and no tests" in note for note in note_texts(report.tables[0]))
    assert report.tables[0].differences == {}
    assert len(report.runs) == 15
