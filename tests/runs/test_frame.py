"""Test `krona.results`: the row of a run has the values of its result.json, and damaged results are named."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import krona
from krona import paths
from krona.messages import KronaError
from krona.report.build import build_report
from krona.runs import frame
from krona.runs.frame import COLUMNS
from krona.runs.result import Result, read_result
from krona.runs.sweep import save_run_ids
from report.generate import grid, make_result, write_all
from typed_run import output_of


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    failed = make_result("krona", "rte", 7, status="failed")
    write_all(tmp_path, [*grid(["krona", "lora"], ["rte", "stsb"], [0, 1], rows=20), failed])
    return tmp_path


def test_each_run_has_a_row_with_the_numbers_of_its_file(outputs: Path) -> None:
    table = krona.results(outputs)
    metrics = [f"{split}_{name}" for split in ("dev", "test") for name in ("accuracy", "pearson", "spearman")]
    assert list(table.columns) == [*COLUMNS, *metrics]
    assert list(table.run_id) == sorted(path.parent.name for path in outputs.glob("*/result.json"))
    done = table[table.status == "done"]
    assert len(done) == 8
    for row in done.itertuples():
        result = read_result(outputs / row.run_id / "result.json")
        assert (row.method, row.task, row.seed) == (result.method, result.task, result.seed)
        assert (row.dev, row.test) == (result.dev["score"], result.test["score"])
        assert (row.parameters, row.percent) == (result.trainable_params, result.trainable_percent)
        assert (row.lr, row.backbone) == (result.config["optimizer"]["lr"], "google-t5/t5-base")
        assert (row.epochs, row.best_epoch) == (result.dev_curve[-1]["epoch"], result.best_epoch)
        assert (row.total_s, row.host_bytes) == (result.times["total"], result.peak_memory["host"])
        assert row.notes == len(result.notes)
        for name in ("accuracy", "pearson", "spearman"):
            recorded = [part["parts"].get(name, pd.NA) for part in (result.dev, result.test)]
            assert [getattr(row, f"dev_{name}"), getattr(row, f"test_{name}")] == recorded
    krona_rows = done[done.method == "krona"]
    assert set(zip(krona_rows.task, krona_rows.factors, strict=True)) == {("rte", "32x24"), ("stsb", "2x384")}
    assert done.factors[done.method == "lora"].isna().all()


def test_a_run_that_two_sweeps_share_belongs_to_both(outputs: Path) -> None:
    shared = sorted(path.parent.name for path in outputs.glob("lora-rte-*/result.json"))
    save_run_ids(outputs, "mine", shared)
    assert list(krona.results(outputs, sweep="mine").run_id) == shared
    table = krona.results(outputs, sweep="table1")
    assert len(table) == 9
    assert set(table.sweeps[table.run_id.isin(shared)]) == {"mine, table1"}
    with pytest.raises(KronaError, match="belongs to a sweep other"):
        krona.results(outputs, sweep="other")


def test_the_snippet_of_the_documentation_prints_the_means(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    page = Path(__file__).parents[2] / "docs" / "reading-the-report.md"
    (snippet,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(snippet, {})
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["mean", "std", "count"]
    assert [line.split()[-1] for line in lines[1:]] == ["2"] * 4


def test_damaged_results_are_named_and_left_out(outputs: Path) -> None:
    first, second, *_ = sorted(outputs.glob("*/result.json"))
    first.write_text(first.read_text()[:100])
    second.write_text("[]")
    expected = re.escape(f"The table lacks 2 damaged results:\n  {first} is not a result of krona: ")
    with pytest.warns(UserWarning, match=rf"(?s){expected}.*{re.escape(str(second))} is not a result of krona"):
        table = krona.results(outputs)
    assert len(table) == 7
    assert not {first.parent.name, second.parent.name} & set(table.run_id)


def test_no_runs_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path)
    empty = krona.results()
    assert (len(empty), list(empty.columns)) == (0, list(COLUMNS))
    with pytest.raises(KronaError, match="nowhere is not a folder"):
        krona.results(tmp_path / "nowhere")


@pytest.mark.parametrize("format", ["terminal", "html"])
def test_runs_that_are_removed_during_a_report_do_not_end_it(
    format: str, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_, last = sorted(path.parent for path in outputs.glob("*/result.json"))

    def read(path: Path) -> Result:
        if path.parent == second:
            shutil.rmtree(second)  # before it is read
        result = read_result(path)
        if path.parent == last:
            shutil.rmtree(first)  # after it was read
        return result

    monkeypatch.setattr(frame, "read_result", read)
    text = build_report(outputs, format=format, out=outputs / "a.html" if format == "html" else None)
    assert "8 runs: 7 done, 1 failed" in text
    assert "predictions.jsonl was not found" in text
    assert not first.exists()
    assert not (outputs / ".index").exists()


def test_reading_results_imports_neither_pandas_nor_pyarrow(tmp_path: Path) -> None:
    write_all(tmp_path, grid(["lora"], ["rte"], [0], rows=20))
    code = (
        "import sys; from pathlib import Path; from krona.runs.frame import stored_results; "
        "stored_results(Path(sys.argv[1])); print({'pandas', 'pyarrow', 'jinja2', 'torch'} & set(sys.modules))"
    )
    assert output_of(sys.executable, "-c", code, tmp_path).strip() == "set()"
