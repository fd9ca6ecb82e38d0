"""Test the settings that a method has on the layers of a backbone, as they are recorded in results."""

from dataclasses import replace

import pytest
from torch import Tensor

from krona.backbones.insert_method import insert_method, method_defaults
from krona.methods.branch import Branch
from krona.methods.kronecker import Kronecker
from tiny_t5 import settings, tiny_t5


@pytest.mark.parametrize(
    ("typed", "recorded"), [([[4, 8]], [[4, 8], [16, 8]]), ([[2, 32], [32, 2]], [[2, 32], [32, 2]])]
)
def test_b_is_recorded_where_only_a_was_typed(typed: list[list[int]], recorded: list[list[int]]) -> None:
    method = settings("krona", kron_factors=typed, fit_factors="exact")
    used, notes = insert_method(tiny_t5(), method)
    assert used["kron_factors"] == recorded
    assert notes == []
    assert method.branch_config["kron_factors"] == typed


class Own(Branch):
    """A user's own branch with factor shapes."""

    def __init__(self, d_in: int, d_out: int, *, kron_factors: list[list[int]], scaling: float) -> None:
        super().__init__()
        self.inner = Kronecker(d_in, d_out, kron_factors=kron_factors, scaling=scaling)

    def reset_parameters(self) -> None:
        self.inner.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)  # type: ignore[no-any-return]


def test_nearest_shapes_also_replace_those_of_a_users_own_branch() -> None:
    method = settings("krona", kron_factors=[[24, 32], [32, 24]], fit_factors="nearest")
    used, notes = insert_method(tiny_t5(), replace(method, branch=f"{__name__}.Own"), factor_shapes={"24x32": [8, 16]})
    assert used["kron_factors"] == [[8, 16], [8, 4]]
    assert notes == ["The paper's factor shape (24, 32) becomes (8, 16) on layers 64 → 64."]


def test_what_a_method_leaves_out_is_recorded_with_its_defaults() -> None:
    found = method_defaults(settings("krona", kron_factors=[[4, 8]], bias=1))
    assert (found["terms"], found["residual"], found["magnitude"]) == (1, None, False)
    assert found.keys().isdisjoint({"bias", "kron_factors", "target_modules", "scaling", "d_in", "name", "reversible"})
    assert method_defaults(settings("full")) == {}, "it types both of what it could leave out"
