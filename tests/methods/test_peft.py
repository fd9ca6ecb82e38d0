"""Test LoRA, DoRA, (IA)³, LoKr, MiSS and C3A against peft: equal values give equal outputs and gradients."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from krona import surgery
from krona.methods.c3a import C3A
from krona.methods.ia3 import IA3
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA
from krona.methods.miss import MiSS
from tiny_t5 import batch, disturb, logits, tiny_t5

peft = pytest.importorskip("peft", reason="peft is not installed: the comparison with it is left out")

# peft uses a name of transformers that has since changed
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

# last part of our parameter's name → (peft's name, function from our value to peft's value)
NAMES: dict[str, tuple[str, Any]] = {
    "A": ("lora_A.default.weight", torch.t),
    "B": ("lora_B.default.weight", torch.t),
    "magnitude": ("lora_magnitude_vector.default.weight", torch.clone),
    "kernels": ("c3a_kernel.default", torch.clone),
    "D": ("miss_block.default", torch.clone),
    "scale": ("ia3_l.default", torch.clone),
    **{name: (f"lokr_{name}.default", torch.clone) for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b")},
}
QV = {"target_modules": ["q", "v"]}
IA3_TARGETS = {"target_modules": ["k", "v", "wo"]}


def lora_config(targets: list[str], **changes: Any) -> Any:
    return peft.LoraConfig(r=3, lora_alpha=6, target_modules=targets, lora_dropout=0.0, **changes)


def lokr_config(**changes: Any) -> Any:
    return peft.LoKrConfig(r=2, alpha=6, **QV, rank_dropout=0.0, module_dropout=0.0, **changes)


CASES = {
    "lora": (LoRA, {**QV, "rank": 3, "scaling": 2.0}, lambda: lora_config(["q", "v"])),
    "dora": (
        LoRA,
        {**QV, "rank": 3, "scaling": 2.0, "magnitude": True},
        lambda: lora_config(["q", "v"], use_dora=True),
    ),
    "lokr": (LoKr, {**QV, "rank": 2, "alpha": 6.0}, lokr_config),
    "lokr, full factors": (LoKr, {**QV, "rank": 8, "alpha": 24.0}, lambda: peft.LoKrConfig(r=8, alpha=24, **QV)),
    "lokr, both low": (
        LoKr,
        {**QV, "rank": 2, "alpha": 6.0, "decompose_both": True, "decompose_factor": 8},
        lambda: lokr_config(decompose_both=True, decompose_factor=8),
    ),
    "ia3": (
        IA3,
        {**IA3_TARGETS, "placement": ["sequential", "sequential", "before"], "inner_residual": False},
        lambda: peft.IA3Config(**IA3_TARGETS, feedforward_modules=["wo"]),
    ),
    "c3a": (C3A, QV, lambda: peft.C3AConfig(block_size=32, **QV)),
    "c3a, one block": (C3A, {**QV, "block_size": 64}, lambda: peft.C3AConfig(block_size=64, **QV)),
    "c3a, wo": (
        C3A,
        {"target_modules": ["wo"], "block_size": 16},
        lambda: peft.C3AConfig(block_size=16, target_modules=["wo"]),
    ),
    "miss": (MiSS, {**QV, "rank": 4}, lambda: peft.MissConfig(r=4, **QV)),
    "miss, parts that do not divide the width": (MiSS, {**QV, "rank": 6}, lambda: peft.MissConfig(r=6, **QV)),
}


class Differentiated:
    """The forward pass of C3A in peft, differentiated by autograd.

    The explicit gradient of the input in peft 0.21 is wrong.
    """

    @staticmethod
    def apply(x: Tensor, w: Tensor) -> Tensor:
        from peft.tuners.c3a.utils import BlockCircularConvolution

        y: Tensor = BlockCircularConvolution.forward(SimpleNamespace(save_for_backward=lambda *_: None), x, w)
        return y


def peft_name(name: str) -> tuple[str, Any]:
    """Return peft's name of one of our parameters, and the map from our values to peft's."""
    place, _, last = name.rpartition(".")
    suffix, change = NAMES[last]
    return f"{place.removesuffix('.0')}.{suffix}", change


@torch.no_grad()
def copy_values(ours: nn.Module, theirs: Any) -> None:
    """Copy all trained values to peft's model, including a new head."""
    targets: dict[str, Tensor] = dict(theirs.get_base_model().named_parameters())
    copied = set()
    for name, parameter in surgery.trainable_state(ours).items():
        if name.rpartition(".")[2] not in NAMES:
            assert "classifier" in name
            targets[name].copy_(parameter)
            continue
        target, change = peft_name(name)
        targets[target].copy_(change(parameter).reshape(targets[target].shape))
        copied.add(target)
    assert copied == {name for name, parameter in targets.items() if parameter.requires_grad}


def close(actual: Tensor, expected: Tensor) -> bool:
    return bool((actual - expected).abs().max() <= 1e-5 * expected.abs().max())


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_pefts(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peft.tuners.c3a.layer.BlockCircularConvolution", Differentiated)
    branch, arguments, config = CASES[case]
    ours: Any = tiny_t5()
    theirs = peft.get_peft_model(copy.deepcopy(ours), config())
    surgery.insert(ours, branch, train_layer_norms=False, **arguments)  # type: ignore[arg-type]
    disturb(ours)
    copy_values(ours, theirs)
    theirs.eval()
    assert close(logits(theirs), logits(ours))

    ours(**batch()).loss.backward()
    theirs(**batch()).loss.backward()
    targets = dict(theirs.get_base_model().named_parameters())
    for name, parameter in surgery.trainable_state(ours).items():
        target, change = peft_name(name)
        gradient, other = parameter.grad, targets[target].grad
        assert gradient is not None
        assert other is not None
        assert close(other, change(gradient).reshape(other.shape)), name
