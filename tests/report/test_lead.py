"""The opening sentence, the seeds of a cell, and the precision of a column, in a report on one sweep."""

import html
import re
from pathlib import Path

import pytest

from krona.report.build import build_report, collect
from krona.report.lead import lead
from report.generate import grid, make_result, write_all


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    write_all(folder, grid(["lora", "full"], ["sample_rte", "sample_cola"], [0, 1], rows=40, backbone="nano"))
    return folder


def test_the_same_sentence_opens_the_terminal_markdown_and_html(outputs: Path) -> None:
    report = collect(outputs)
    (table,) = report.tables
    (sentence,) = lead(report)
    best, other = sorted(table.rows, key=lambda row: -(row.cells["avg"].value or 0.0))
    assert re.match(rf"{re.escape(best.label)} \(.*% of the parameters.*\) leads on the mean of 2 with ", sentence)
    assert f" with {best.cells['avg'].value:.2f}" in sentence
    assert (other.label in sentence) == other.cells["avg"].tied
    assert sentence.endswith("not significantly behind." if other.cells["avg"].tied else "are significantly behind.")
    shown = " ".join(build_report(outputs).split())
    assert shown.startswith(f"All runs {sentence} ")
    assert html.unescape(build_report(outputs, format="html")).count(f"<p>{sentence}</p>") == 1
    assert sentence in build_report(outputs, format="md").replace("\\", "").split("##")[0]


def test_rows_with_the_same_score_lead_together_and_a_lone_row_leads_nothing(tmp_path: Path) -> None:
    write_all(tmp_path, [make_result("lora", "rte", rows=40)])
    assert lead(collect(tmp_path)) == []
    same = collect(tmp_path).tables[0]
    twice = make_result("krona", "rte", rows=40)
    twice.test, twice.dev = (getattr(make_result("lora", "rte", rows=40), split) for split in ("test", "dev"))
    write_all(tmp_path, [twice])
    (sentence,) = lead(collect(tmp_path))
    assert " lead on RTE with " in sentence
    assert f"{same.rows[0].cells['rte'].value:.2f}" in sentence
    assert "behind" not in sentence


def test_two_seeds_show_their_range_and_headings_their_metric(outputs: Path) -> None:
    text = build_report(outputs, width=120)
    cell = collect(outputs).tables[0].cell("lora", "sample_cola")
    low, high = sorted(run.score("test") or 0.0 for run in cell.runs)
    assert f"{low:.2f}…{high:.2f}".replace("-", "−") in text
    assert "±" not in text
    assert text.partition("could not have been told apart")[0].count("2 seeds") == 2 * 3  # two rows, two tasks, mean
    assert {"MCC", "acc"} <= set(text.split())
    assert "Rank of the update" in " ".join(column.label for column in collect(outputs).tables[0].columns)


def test_parameters_have_one_precision_and_decimals_stand_below_one_another(outputs: Path) -> None:
    shown = {cell.digits for row in collect(outputs).tables[0].rows
             for cell in [row.cells["params"]]}  # fmt: skip
    assert len(shown) == 1
    lines = build_report(outputs, width=120).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("───"))
    points = [[match.start() for match in re.finditer(r"\.", line)] for line in lines[at:] if line[:1].isupper()][:2]
    assert len(points) == 2
    assert points[0] == points[1]
