"""Test that a table with very many rows has no tests, and says so."""

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


@pytest.mark.parametrize("limit", ["MAX_ROWS", "MAX_RUNS"])
def test_of_many_no_predictions_are_read_and_nothing_is_tested(outputs, monkeypatch, limit):
    monkeypatch.setattr(build, limit, 2)
    read: list[Path] = []
    monkeypatch.setattr(predictions, "read_rows", lambda path, *columns, **options: read.append(path) or [])
    report = build.collect(outputs)
    assert read == []
    cells = [row.cells["rte"] for row in report.tables[0].rows]
    assert [(cell.seeds, cell.test_interval, cell.p) for cell in cells] == [([0, 1, 2], None, None)] * 5
    assert any("no intervals over examples and no tests" in note for note in note_texts(report.tables[0]))
    assert report.tables[0].pairs.empty
    assert len(report.runs) == 15
