"""Test that a report on very many runs shows only the best rows, and says so."""

from pathlib import Path

import pytest

from krona.report import build
from krona.runs import predictions
from report.generate import collected, grid, make_result, note_texts, write_all

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
    monkeypatch.setattr(build, "MAX_RUNS", 10)
    monkeypatch.setattr(build, "MIN_ROWS", 2)
    monkeypatch.setattr(build, "MAX_CELLS", 2)
    (table,) = build.collect(outputs).tables
    assert [row.differs for row in table.rows] == [whole.rows[i].differs for i in sorted(best)]
    assert [row.cells["rte"].value for row in table.rows] == [means[i] for i in sorted(best)]
    assert any("best 2 of 5 rows" in note for note in note_texts(table))


def test_of_many_only_the_predictions_of_some_seeds_are_read(outputs, monkeypatch):
    monkeypatch.setattr(build, "MAX_RUNS", 10)
    monkeypatch.setattr(build, "MAX_SEEDS", 2)
    read: list[Path] = []
    reader = predictions.read_rows
    monkeypatch.setattr(
        predictions,
        "read_rows",
        lambda path, *columns, **options: read.append(path) or reader(path, *columns, **options),
    )
    report = build.collect(outputs)
    assert sorted(read) == sorted({*read}), "each file is read once"
    cell = report.tables[0].rows[0].cells["rte"]
    assert cell.seeds == [0, 1, 2], "the mean is over all"
    assert cell.tested_seeds == 2
    assert len(report.runs) == 15


def test_of_many_sections_only_the_first_are_resampled(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "MAX_RUNS", 1)
    monkeypatch.setattr(build, "MAX_CELLS", 1)
    names = ("a", "b")
    results = [make_result("lora", "rte", 0, rows=30, backbone=name, sweep=None) for name in names]
    tables = collected(tmp_path, results).tables
    assert [table.rows[0].cells["rte"].test_interval is not None for table in tables] == [True, False]
    assert [any("no intervals and tests" in note for note in note_texts(table)) for table in tables] == [False, True]
    assert all(table.rows[0].cells["rte"].value is not None for table in tables)
