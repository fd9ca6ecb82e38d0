"""Test the values of loggers: keys, gradient norms and effective ranks against NumPy."""

from typing import Any

import pytest
import torch
from tests.tiny_t5 import batch, disturb, tiny_t5

from krona import surgery
from krona.methods.bitfit import Bias
from krona.methods.kronecker import Kronecker
from krona.methods.lora import LoRA
from krona.methods.parallel_adapter import ParallelAdapter
from krona.surgery.state import adapted_modules
from krona.trackers.logged_values import flat_config
from krona.training import update_norms


def test_the_config_is_flat_and_has_short_names() -> None:
    config = {
        "method": {"name": "krona", "kron_factors": [[32, 24], [24, 32]], "source": None},
        "task": {"labels": {"entailment": 0}},
        "logger": {"wandb": {}},
    }
    flat = flat_config(config, "an-id")
    assert flat["run_id"] == "an-id"
    assert flat["method"] == "krona"
    assert flat["factors"] == "32x24"
    assert flat["method/kron_factors"] == "[[32, 24], [24, 32]]"
    assert flat["method/source"] == "null"
    assert flat["task/labels/entailment"] == 0
    assert not any(key.startswith("logger") for key in flat)


def test_the_update_beside_a_block_is_the_sum_of_its_branches() -> None:
    model = tiny_t5()
    surgery.insert(
        model, Kronecker, target_modules=["DenseReluDense"], kron_factors=[[8, 4]], bias=1, residual="scale",
        modules_per_target=2,
    )  # fmt: skip
    assert update_norms.update_values(model)["update_rank/mean"] == pytest.approx(64)  # at the start it is 2 · 1
    disturb(model, by=0.3)
    values = update_norms.update_values(model)
    _, module = next(adapted_modules(model))
    inputs = torch.eye(64)
    D = sum(branch(inputs) - branch(torch.zeros(1, 64)) for branch in module.branches["default"])
    assert values["update_norm/encoder/0/DenseReluDense"] == pytest.approx(D.norm().item(), rel=1e-4)
    bias = torch.cat([branch.bias for branch in module.branches["default"]])
    assert values["weight_norm/encoder/0/DenseReluDense/bias"] == pytest.approx(bias.norm().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("branch", "arguments", "kinds"),
    [
        (ParallelAdapter, {"bottleneck_dim": 2}, {"down", "down_bias", "up", "up_bias"}),
        (Kronecker, {"kron_factors": [[8, 4]], "non_linearity": "relu"}, {"A", "B"}),
        (Bias, {}, {"bias"}),
    ],
)
def test_branches_without_a_matrix_have_norms_of_their_parameters(
    branch: Any, arguments: dict[str, Any], kinds: set[str]
) -> None:
    model = tiny_t5()
    surgery.insert(model, branch, target_modules=["DenseReluDense"], **arguments)
    disturb(model, by=0.3)
    values = update_norms.update_values(model)
    assert {key.rsplit("/", 1)[-1] for key in values} == kinds
    assert all(key.startswith("weight_norm/") for key in values)
    _, module = next(adapted_modules(model))
    for kind in kinds:
        expected = module.branches["default"][0].get_parameter(kind).norm().item()
        assert values[f"weight_norm/encoder/0/DenseReluDense/{kind}"] == pytest.approx(expected, rel=1e-5)


def test_gradient_norms_by_kind() -> None:
    model = tiny_t5()
    surgery.insert(model, LoRA, target_modules=["q", "v"], rank=2)
    assert update_norms.gradient_norms(model) == {}
    model(**batch()).loss.backward()
    norms = update_norms.gradient_norms(model)
    assert norms.keys() == {"A", "B", "layer_norm"}
    expected = sum(
        float(p.grad.double().pow(2).sum())
        for n, p in model.named_parameters()
        if n.endswith(".B") and p.grad is not None
    )
    assert float(norms["B"]) == pytest.approx(expected**0.5, rel=1e-5)
    assert float(norms["A"]) == 0  # B is zero at the start
