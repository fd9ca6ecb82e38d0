"""The rank of an update and the shape of A, from what a result says."""

import pytest

from krona.report.used_shapes import asked_shape, update_rank, used_shape
from report.generate import make_result

FITTED = "factors (32, 24) of the paper become (16, 12) on layers 192 → 192"


@pytest.mark.parametrize(
    ("shape", "rank"),
    [((2, 384), 4), ((3, 256), 9), ((192, 4), 16), ((12, 64), 144), ((48, 16), 256), ((32, 24), 576), ((24, 32), 576)],
)
def test_the_papers_shapes(shape, rank):
    a1, a2 = shape
    result = make_result("krona", change={"method.kron_factors": [[a1, a2], [768 // a1, 768 // a2]]})
    assert update_rank(result) == rank
    assert used_shape(result) == f"{a1}x{a2}"


def test_a_fitted_shape_counts_as_it_was_used():
    result = make_result("krona", backbone="nano")
    assert asked_shape(result) is None
    result.notes.append(FITTED)
    assert (used_shape(result), asked_shape(result), update_rank(result)) == ("16x12", "32x24", 12 * 12)
    result.notes.clear()
    result.provenance["branch_config"] = {"kron_factors": [[16, 12], [12, 16]]}
    assert (used_shape(result), asked_shape(result), update_rank(result)) == ("16x12", "32x24", 12 * 12)


def test_b_is_taken_from_what_was_inserted_where_only_a_was_typed():
    result = make_result("krona", change={"method.kron_factors": [[2, 96]]})
    assert update_rank(result) is None, "B is not known"
    result.provenance["branch_config"] = {"kron_factors": [[2, 96], [96, 2]]}
    assert (used_shape(result), asked_shape(result), update_rank(result)) == ("2x96", None, 4)


def test_products_at_one_place_add_their_ranks_up_to_the_layers_width():
    shape = [[2, 384], [384, 2]]
    assert update_rank(make_result("krona", change={"method.kron_factors": shape, "method.terms": 4})) == 16
    assert update_rank(make_result("krona_b", change={"method.modules_per_target": 2})) == 768
    assert update_rank(make_result("krona_b_res", change={"method.kron_factors": shape})) == 768, "s_res · I"


def test_lora_has_its_rank_and_what_is_no_matrix_has_none():
    assert update_rank(make_result("lora")) == 1
    assert update_rank(make_result("full")) is None
    assert used_shape(make_result("lora")) is None
    result = make_result("krona_b")
    result.config["method"]["non_linearity"] = "silu"
    assert update_rank(result) is None
