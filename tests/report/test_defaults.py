"""Test that an argument with its default value counts as the same setting as an argument that is left out."""

import pytest

from krona.report.build import collect
from krona.report.diff import diff_runs
from report.generate import make_result, write_all


def pair(outputs, key, value, records=()):
    """Write results of seed 0 without ``key`` and of seed 1 with it. ``records`` are their recorded defaults."""
    results = [make_result("krona", "rte", 0), make_result("krona", "rte", 1, sweep="other", change={key: value})]
    for result, record in zip(results, records, strict=False):
        result.provenance["method_defaults"] = record
    return write_all(outputs, results)


def rows(outputs, **kwargs):
    (table,) = collect(outputs, **kwargs).tables
    return {row.differs: row.cells["rte"].seeds for row in table.rows}


@pytest.mark.parametrize(
    ("value", "records", "expected"),
    [
        (2.0, [{"terms": 2}], {"": [0, 1]}),
        (4.0, [{"terms": 2.0}], {"terms=2": [0], "terms=4": [1]}),
        (2.0, [], {"terms=not set": [0], "terms=2": [1]}),
        (2.0, [{"terms": 1.0}, {"terms": 2.0}], {"terms=1": [0], "terms=2": [1]}),
    ],
    ids=["the default", "another value", "no record", "a default that changed"],
)
def test_only_a_known_equal_default_joins_a_row(tmp_path, value, records, expected):
    pair(tmp_path, "method.terms", value, records)
    assert rows(tmp_path) == expected
    if "" in expected:
        assert rows(tmp_path, filters=["terms=2"]) == expected


def test_a_default_that_changed_is_another_setting(tmp_path):
    results = [make_result("lora", "rte", 0), make_result("lora", "rte", 1, sweep="other")]
    for result, start in zip(results, ("pissa", "kaiming"), strict=True):
        result.provenance["method_defaults"] = {"start": start}
    one, two = write_all(tmp_path, results)
    assert rows(tmp_path) == {"start=pissa": [0], "start=kaiming": [1]}
    keys = {key for key, _, _ in diff_runs(tmp_path / one.run_id, tmp_path / two.run_id).settings}
    assert keys == {"seed", "method.start"}


def test_a_diff_of_two_runs_does_not_name_it(tmp_path):
    one, two = pair(tmp_path, "method.terms", 2.0, [{"terms": 2.0}, {"terms": 2.0}])
    found = diff_runs(tmp_path / one.run_id, tmp_path / two.run_id)
    assert [key for key, _, _ in found.settings] == ["seed"]
