"""Test the note below a table about the smallest difference that can be detected."""

import re
from dataclasses import replace

import pytest
from scipy import stats

from krona.report.build import build_report, collect
from krona.report.notes import POWER_NOTE, power_note
from report.generate import collected, grid, make_result, write_all


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    write_all(folder, grid(["pa", "krona"], ["rte", "stsb"], range(5), rows=100))
    return folder


@pytest.mark.parametrize("form", ["terminal", "html", "latex"])
def test_every_format_says_it_once_for_each_table(outputs, form):
    text = " ".join(build_report(outputs, format=form).split())
    assert text.count(POWER_NOTE) == 1
    assert f"% {POWER_NOTE}" not in text, "not in a comment of LaTeX"


def test_the_difference_is_two_quantiles_of_errors_and_falls_with_examples(outputs, tmp_path):
    (table,) = collect(outputs, filters=["task=rte"]).tables
    (one,) = table.pairs.itertuples()
    expected = (stats.t.ppf(0.975, one.df) + stats.t.ppf(0.8, one.df)) * one.error
    assert said(table) == pytest.approx(expected, abs=0.006)
    (more,) = collected(tmp_path, grid(["pa", "krona"], ["rte"], range(5), rows=900)).tables
    assert said(more) < 0.6 * said(table)


def said(table):
    return float(re.search(r"RTE (\d+\.\d\d)", power_note(table)[0].text)[1])


def test_no_line_where_nothing_was_compared_or_differences_are_listed(tmp_path):
    (table,) = collected(tmp_path, [make_result("krona", "rte", rows=40)]).tables
    assert power_note(table) == []
    assert power_note(replace(table, rows=[])) == []
    (table,) = collected(tmp_path / "lora", grid(["lora", "krona"], ["rte"], range(5), rows=100)).tables
    assert power_note(table) == []
    assert table.pairs["detectable"].min() > 0
