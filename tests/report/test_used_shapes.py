"""The shape of A that was asked for and the one that was used, and the rank of an update, from what a result says."""

from krona.report.build import collect
from krona.report.used_shapes import asked_shape, used_shape
from report.generate import make_result, write_all


def test_the_shape_that_the_config_names_is_the_used_one_where_nothing_else_is_recorded():
    result = make_result("krona", change={"method.kron_factors": [[2, 384], [384, 2]]})
    assert (used_shape(result), asked_shape(result)) == ("2x384", None)
    assert (used_shape(make_result("lora")), asked_shape(make_result("lora"))) == (None, None)


def test_a_fitted_shape_counts_as_it_was_used():
    result = make_result("krona", backbone="nano")
    assert asked_shape(result) is None
    result.provenance["branch_config"] = {"kron_factors": [[16, 12], [12, 16]]}
    assert (used_shape(result), asked_shape(result)) == ("16x12", "32x24")


def test_every_method_has_the_rank_that_its_run_recorded_and_an_empty_cell_without(tmp_path):
    results = [make_result(method, "rte", rows=40) for method in ("lora", "krona", "pa", "full")]
    results[2].provenance["update_rank"] = 24
    del results[3].provenance["update_rank"]  # as of a run before it was recorded
    write_all(tmp_path, results)
    (table,) = collect(tmp_path).tables
    ranks = {row.key: (row.cells["rank"].value, row.cells["rank"].missing) for row in table.rows}
    assert ranks == {"lora": (1, None), "krona": (576, None), "pa": (24, None), "full": (None, "")}
