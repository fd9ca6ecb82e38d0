"""Test the paper's ablations (Tables 4 to 7 and 9) by overrides alone, on a small model with the real places."""

from typing import Any

import pytest
import torch

from krona import surgery
from krona.backbones.insert_method import insert_method
from krona.config import check
from krona.methods.kronecker import Kronecker
from one_job import config
from tiny_t5 import batch, close, logits, tiny_t5


def built(*overrides: str) -> tuple[Any, Any]:
    """Return a tiny T5 with the adapter that these overrides compose, whose factors fit its width, and the settings."""
    settings = check.settings(config(*overrides))
    model = tiny_t5().double()
    torch.manual_seed(0)
    insert_method(model, settings.method)
    model(**batch()).loss.backward()
    return model, settings


def branches(model: Any) -> dict[str, list[Kronecker]]:
    return {surgery.public_name(name): list(a.branches) for name, a in surgery.adapted_modules(model)}


def kinds(model: Any) -> dict[str, int]:
    """Return a dict from each kind of module to its number of branches."""
    found: dict[str, int] = {}
    for name, there in branches(model).items():
        kind = name.rsplit(".", 1)[-1]
        found[kind] = found.get(kind, 0) + len(there)
    return found


@pytest.mark.parametrize(("variant", "zero"), [("table4_kaiming", True), ("table4_normal", False)])
def test_table_4(variant: str, zero: bool) -> None:
    model, settings = built(f"variant={variant}", "task=mnli")
    assert settings.method.branch_config["kron_factors"] == [[32, 24], [24, 32]]  # not MNLI's shape (2, 384)
    for there in branches(model).values():
        assert (not there[0].B.any()) == zero
        if not zero:
            assert there[0].B.std().item() == pytest.approx(1 / 8, rel=0.5)  # 1/√64
    assert close(logits(model), logits(tiny_t5().double())) == zero


def test_table_5_steps() -> None:
    both, ffn = {"SelfAttention": 4, "DenseReluDense": 4}, {"DenseReluDense": 8}
    for variant, where, placement, scaling, non_linearity in (
        ("table5_1_sequential", both, "sequential", 1.0, None),
        ("table5_1_sequential_bare", both, "sequential", 1.0, None),
        ("table5_2_parallel", both, "parallel", 1.0, None),
        ("table5_3_parallel_scale", both, "parallel", 16.0, None),
        ("table5_4_parallel_scale_silu", both, "parallel", 16.0, torch.nn.functional.silu),
        ("table5_5_ffn_only", ffn, "parallel", 16.0, None),
    ):
        model, settings = built(f"variant={variant}", "task=rte")
        assert kinds(model) == where, variant
        assert settings.method.placement["placement"] == placement
        assert settings.optimizer.lr == 5e-3  # the recipe of krona_b on RTE
        for there in branches(model).values():
            assert (there[0].scaling, there[0].non_linearity) == (scaling, non_linearity), variant
        assert close(logits(model), logits(tiny_t5().double())) == (variant != "table5_1_sequential_bare")


def test_table_5_last_step_is_krona_b() -> None:
    one, two = (
        built(*overrides, "task=rte")[1].method for overrides in (["variant=table5_5_ffn_only"], ["method=krona_b"])
    )
    assert one == two


def test_equation_6_and_table_7() -> None:
    start = logits(tiny_t5().double())
    for variant, residual, at_start in (("table7_scale", "scale", 1.0), ("table7_sigmoid", "sigmoid", 0.731)):
        model, settings = built(f"variant={variant}", "task=rte")
        assert settings.method.branch_config["residual"] == residual
        assert not close(logits(model), start)
        x = torch.randn(3, 64).double()
        for there in branches(model).values():
            assert len(there) == 2
            torch.testing.assert_close(there[0](x), at_start * x, atol=1e-3, rtol=1e-3)
            gradient = there[0].residual_scale.grad
            assert gradient is not None
            assert gradient.abs() > 0


@pytest.mark.parametrize("shape", ["48x16", "32x24", "3x256", "24x32", "2x384", "192x4", "12x64"])
def test_table_9(shape: str) -> None:
    model, _ = built("method=krona", "task=mnli", f"factors={shape}")
    wanted, (a1, a2) = [int(side) for side in shape.split("x")], next(iter(branches(model).values()))[0].A.shape
    assert (wanted[0] > wanted[1]) == (a1 > a2) or a1 == a2
    with pytest.raises(check.KronaError, match="64 → 64"):
        built("method=krona", "task=mnli", f"method.kron_factors=[{wanted}]")  # typed numbers are never changed
