"""Test the note below a table about the smallest difference that can be detected."""

import re
from dataclasses import replace

import numpy as np
import pytest

from krona.report.build import build_report, collect
from krona.report.notes import POWER_NOTE, power_note
from report.generate import collected, grid, make_result, write_all


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    write_all(folder, grid(["lora", "krona"], ["rte", "stsb"], [0, 1], rows=100))
    return folder


@pytest.mark.parametrize("form", ["terminal", "md", "html", "latex"])
def test_every_format_says_it_once_for_each_table(outputs, form):
    text = " ".join(build_report(outputs, format=form).split())
    assert text.count(POWER_NOTE) == 1
    assert f"% {POWER_NOTE}" not in text, "not in a comment of LaTeX"


def test_the_difference_is_2_8_spreads_of_the_null_and_falls_with_examples(outputs, tmp_path):
    (table,) = collect(outputs, filters=["task=rte"]).tables
    a, b = ([*row.cells["rte"].answers.values()] for row in table.rows)
    gaps = np.mean([(x.given == x.truth).astype(float) - (y.given == y.truth) for x, y in zip(a, b, strict=True)], 0)
    expected = (1.95996 + 0.84162) * np.sqrt((gaps**2).sum()) / len(gaps) * 100
    assert said(table) == pytest.approx(expected, rel=0.15)
    (more,) = collected(tmp_path, grid(["lora", "krona"], ["rte"], [0, 1], rows=900)).tables
    assert said(more) < 0.6 * said(table)


def said(table):
    return float(re.search(r"RTE (\d+\.\d\d)", power_note(table)[0].text)[1])


def test_no_line_where_nothing_was_compared(tmp_path):
    (table,) = collected(tmp_path, [make_result("krona", "rte", rows=40)]).tables
    assert power_note(table) == []
    assert power_note(replace(table, rows=[])) == []
