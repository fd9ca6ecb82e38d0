"""Test the values of loggers: keys and gradient norms."""

import pytest
from tests.tiny_t5 import batch, tiny_t5

from krona import surgery
from krona.methods.lora import LoRA
from krona.trackers.loggers import flat_config
from krona.training.progress import gradient_norms


def test_the_config_is_flat_and_has_short_names() -> None:
    config = {
        "method": {"name": "krona", "kron_factors": [[32, 24], [24, 32]], "source": None},
        "task": {"labels": {"entailment": 0}},
        "logger": {"wandb": {}},
    }
    flat = flat_config(config, "an-id")
    short = {"run_id": "an-id", "method": "krona", "factors": "32x24"}
    long = {"method/kron_factors": "[[32, 24], [24, 32]]", "method/source": "null", "task/labels/entailment": 0}
    assert (short | long).items() <= flat.items()
    assert not any(key.startswith("logger") for key in flat)


def test_gradient_norms_by_kind() -> None:
    model = tiny_t5()
    surgery.insert(model, LoRA, target_modules=["q", "v"], rank=2)
    assert gradient_norms(model) == {}
    model(**batch()).loss.backward()
    norms = gradient_norms(model)
    assert norms.keys() == {"A", "B", "layer_norm"}
    expected = sum(
        float(p.grad.double().pow(2).sum())
        for n, p in model.named_parameters()
        if n.endswith(".B") and p.grad is not None
    )
    assert float(norms["B"]) == pytest.approx(expected**0.5, rel=1e-5)
    assert float(norms["A"]) == 0  # B is zero at the start
