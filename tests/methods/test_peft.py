"""LoRA, DoRA, (IA)³, LoKr, MiSS and C3A against peft: outputs and gradients, with the same values in both."""

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

# peft asks transformers by a name that transformers has since changed
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

# Our parameter's last name → peft's, and how ours becomes theirs.
LORA = {"A": ("lora_A.default.weight", torch.t), "B": ("lora_B.default.weight", torch.t)}
DORA = LORA | {"magnitude": ("lora_magnitude_vector.default.weight", lambda p: p)}
LOKR_NAMES = ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b")
LOKR = {name: (f"lokr_{name}.default", lambda p: p) for name in LOKR_NAMES}
C3A_NAMES = {"kernels": ("c3a_kernel.default", lambda p: p)}
MISS = {"D": ("miss_block.default", lambda p: p)}
IA3_NAMES = {"scale": ("ia3_l.default", lambda p: p)}


def lora(**changes: Any) -> Any:
    return peft.LoraConfig(r=3, lora_alpha=6, target_modules=["q", "v"], lora_dropout=0.0, **changes)


def lokr(**changes: Any) -> Any:
    return peft.LoKrConfig(r=2, alpha=6, target_modules=["q", "v"], rank_dropout=0.0, module_dropout=0.0, **changes)


QV = {"target_modules": ["q", "v"]}
IA3_PLACES = {"target_modules": ["k", "v", "wo"], "placement": ["sequential", "sequential", "before"]}
CASES = {
    "lora": (LoRA, {**QV, "rank": 3, "scaling": 2.0}, lora, LORA),
    "dora": (LoRA, {**QV, "rank": 3, "scaling": 2.0, "magnitude": True}, lambda: lora(use_dora=True), DORA),
    "lokr": (LoKr, {**QV, "rank": 2, "alpha": 6.0}, lokr, LOKR),
    "lokr, full factors": (LoKr, {**QV, "rank": 8, "alpha": 24.0}, lambda: peft.LoKrConfig(r=8, alpha=24, **QV), LOKR),
    "lokr, both low": (
        LoKr,
        {**QV, "rank": 2, "alpha": 6.0, "decompose_both": True, "decompose_factor": 8},
        lambda: lokr(decompose_both=True, decompose_factor=8),
        LOKR,
    ),
    "ia3": (
        IA3,
        {**IA3_PLACES, "inner_residual": False},
        lambda: peft.IA3Config(target_modules=["k", "v", "wo"], feedforward_modules=["wo"]),
        IA3_NAMES,
    ),
    "c3a": (C3A, {**QV}, lambda: peft.C3AConfig(block_size=32, **QV), C3A_NAMES),
    "c3a, one block": (C3A, {**QV, "block_size": 64}, lambda: peft.C3AConfig(block_size=64, **QV), C3A_NAMES),
    "c3a, wo": (
        C3A,
        {"target_modules": ["wo"], "block_size": 16},
        lambda: peft.C3AConfig(block_size=16, target_modules=["wo"]),
        C3A_NAMES,
    ),
    "miss": (MiSS, {**QV, "rank": 4}, lambda: peft.MissConfig(r=4, **QV), MISS),
    "miss, parts that do not divide the width": (MiSS, {**QV, "rank": 6}, lambda: peft.MissConfig(r=6, **QV), MISS),
}


def theirs_of(name: str, names: dict[str, Any]) -> tuple[str, Any]:
    """peft's name for one of our parameters, and the map from our values to theirs."""
    place, _, last = name.rpartition(".")
    suffix, change = names[last]
    return f"base_model.model.{place.removesuffix('.0')}.{suffix}", change


class Differentiated:
    """peft's forward of C3A under autograd: the input's gradient that peft 0.21 writes out is not its derivative."""

    @staticmethod
    def apply(x: Tensor, w: Tensor) -> Tensor:
        from peft.tuners.c3a.utils import BlockCircularConvolution

        y: Tensor = BlockCircularConvolution.forward(SimpleNamespace(save_for_backward=lambda *_: None), x, w)
        return y


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_pefts(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peft.tuners.c3a.layer.BlockCircularConvolution", Differentiated)
    branch, arguments, config, names = CASES[case]
    ours = tiny_t5()
    theirs = peft.get_peft_model(copy.deepcopy(ours), config())
    surgery.insert(ours, branch, train_layer_norms=False, **arguments)
    disturb(ours)
    trainable = surgery.trainable_state(ours)
    targets: dict[str, nn.Parameter] = dict(theirs.named_parameters())
    assert {theirs_of(name, names)[0] for name in trainable} == {n for n, p in targets.items() if p.requires_grad}
    with torch.no_grad():
        for name, parameter in trainable.items():
            target, change = theirs_of(name, names)
            targets[target].copy_(change(parameter).reshape(targets[target].shape))
    theirs.eval()
    output = logits(ours)
    assert close(logits(theirs), output)

    ours(**batch()).loss.backward()
    theirs(**batch()).loss.backward()
    for name, parameter in trainable.items():
        target, change = theirs_of(name, names)
        gradient, other = parameter.grad, targets[target].grad
        assert gradient is not None
        assert other is not None
        assert close(other, change(gradient).reshape(other.shape)), name


def close(actual: Tensor, expected: Tensor) -> bool:
    """Within 1e-5 of the expected's scale."""
    return bool((actual - expected).abs().max() <= 1e-5 * expected.abs().max())
