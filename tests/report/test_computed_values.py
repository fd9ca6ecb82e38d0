"""Test that a report computes tests and intervals only once, and never shows those of other results or other code."""

from pathlib import Path
from typing import Any

import pytest

from krona.report import build, computed_values, stored_runs, table
from krona.report.computed_values import FILE
from krona.report.over_tasks import EQUIVALENT, UNCLEAR
from krona.runs.cache import FOLDER, read_cache, write_cache
from krona.runs.result import read_result, write_result
from report.generate import grid, make_result, write_all


@pytest.fixture(scope="module")
def results() -> list[Any]:
    return grid(["krona", "lora", "full"], ["rte", "stsb", "cola"], [0, 1], rows=30, epochs=2)


@pytest.fixture
def outputs(results: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(computed_values, "WORTH", 1)
    write_all(tmp_path / "outputs", results)
    return tmp_path / "outputs"


def report(outputs: Path) -> str:
    return build.build_report(outputs)


def test_the_second_report_reads_no_predictions_and_is_equal(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = report(outputs)
    assert "p =" in first
    for module, name in ((stored_runs, "read_result"), (table, "bootstrap"), (table, "swap_test")):
        monkeypatch.setattr(module, name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))
    assert report(outputs) == first


def change_predictions(outputs: Path, _: Any) -> None:
    folder = next(outputs.glob("krona-rte-*"))
    old = read_result(folder / "result.json")
    new = make_result("krona", "rte", old.seed, rows=30, epochs=2, skill=0.2)
    new.run_id = old.run_id
    write_result(folder, new)


def change_code(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = read_cache(outputs, FILE, version=computed_values._code())
    wrong = {key: EQUIVALENT if value == UNCLEAR else value for key, value in stored.items()}
    assert wrong != stored
    write_cache(outputs, FILE, wrong, version=computed_values._code())
    monkeypatch.setattr(computed_values, "_code", lambda: "other")


@pytest.mark.parametrize("change", [change_predictions, change_code])
def test_other_results_and_other_code_are_noticed(outputs: Path, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    report(outputs)
    change(outputs, monkeypatch)
    shown = report(outputs)
    (outputs / FOLDER / FILE).unlink()
    assert shown == report(outputs)


def test_nothing_is_written_for_few_values(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computed_values, "WORTH", 1_000)
    report(outputs)
    assert not (outputs / FOLDER).exists()
