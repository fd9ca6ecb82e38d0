"""Test that a report computes tests and intervals only once, and never shows those of other results or other code."""

import os
from pathlib import Path
from typing import Any

import pytest

from krona.report import build, computed_values, stored_runs, table
from krona.report.computed_values import FILE
from krona.report.over_tasks import EQUIVALENT, UNCLEAR
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


def damage(outputs: Path, _: Any) -> None:
    (outputs / FILE).write_text((outputs / FILE).read_text().replace(UNCLEAR, EQUIVALENT))


def change_code(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (outputs / FILE).read_text().replace(UNCLEAR, EQUIVALENT).partition("\n")[2]
    (outputs / FILE).write_text(f"{computed_values._heading(text)}\n{text}")
    monkeypatch.setattr(computed_values, "_code", lambda: "other")


def nest(outputs: Path, _: Any) -> None:
    text = 100_000 * "["
    (outputs / FILE).write_text(f"{computed_values._heading(text)}\n{text}")


def replace_by_pipe(outputs: Path, _: Any) -> None:
    (outputs / FILE).unlink()
    os.mkfifo(outputs / FILE)


@pytest.mark.parametrize("change", [change_predictions, damage, change_code, nest, replace_by_pipe])
def test_other_results_other_code_and_a_damaged_file_are_noticed(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    report(outputs)
    change(outputs, monkeypatch)
    shown = report(outputs)
    (outputs / FILE).unlink()
    assert shown == report(outputs)


def test_nothing_is_written_behind_a_link_or_for_few_values(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = outputs.parent / "home"
    home.mkdir()
    (outputs / ".index").symlink_to(home)
    report(outputs)
    (outputs / ".index").unlink()
    monkeypatch.setattr(computed_values, "WORTH", 1_000)
    report(outputs)
    assert [*home.iterdir()] == []
    assert not (outputs / ".index").exists()
