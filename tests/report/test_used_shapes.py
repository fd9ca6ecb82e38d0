"""Test the reported shapes of A (the requested and the used shape) and the rank of the update."""

from krona.report.diff import diff_runs
from krona.report.diff_text import render
from report.generate import collected, make_result, write_all


def test_every_method_has_the_rank_that_its_run_recorded_and_an_empty_cell_without(tmp_path):
    results = [make_result(method, "rte", rows=40) for method in ("lora", "krona", "pa", "full")]
    results[2].provenance["update_rank"] = 24
    del results[3].provenance["update_rank"]  # as in older results
    (table,) = collected(tmp_path, results).tables
    ranks = {row.key: (row.cells["rank"].value, row.cells["rank"].missing) for row in table.rows}
    assert ranks == {"lora": (1, None), "krona": (576, None), "pa": (24, None), "full": (None, "")}


def fitted(seed=0, sweep="table9", task="sample_mnli", **kwargs):
    """Return the result of a run on nano, which replaced a shape of the paper by its counterpart of rank 144."""
    result = make_result("krona", task, seed, backbone="nano", sweep=sweep, rows=40, **kwargs)
    result.provenance |= {"branch_config": {"kron_factors": [[16, 12], [12, 16]]}, "update_rank": 144}
    return result


def test_a_diff_shows_the_used_shape_and_no_shape_where_it_is_the_same(tmp_path):
    asked = fitted()
    typed = fitted(change={"method.kron_factors": [[16, 12]], "method.fit_factors": "exact"})
    other = fitted(change={"method.kron_factors": [[2, 384], [384, 2]]})
    other.provenance["branch_config"] = {"kron_factors": [[2, 96], [96, 2]]}
    write_all(tmp_path, [asked, typed, other])
    assert diff_runs(tmp_path / asked.run_id, tmp_path / typed.run_id).settings == []
    found = diff_runs(tmp_path / asked.run_id, tmp_path / other.run_id)
    assert found.settings == [("method.kron_factors", "16x12", "2x96")]
    assert "384" not in render(found).split("Scores")[0].split("Settings")[1]
