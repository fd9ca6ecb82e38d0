"""Test layers that a model uses in an unusual way: without calling them, under two names, or parametrised."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm
from transformers import MambaConfig, MambaForCausalLM, WavLMConfig, WavLMModel

from krona import surgery
from krona.messages import KronaError
from krona.methods.bitfit import Bias
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA
from tiny_t5 import batch, close, disturb, logits, refused, tiny_t5


def mamba() -> tuple[Any, dict[str, Any]]:
    config = MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=2)
    return MambaForCausalLM(config), {"input_ids": torch.arange(12).view(2, 6)}


def wavlm() -> tuple[Any, dict[str, Any]]:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    convolution: dict[str, Any] = {
        "conv_dim": [8], "conv_stride": [2], "conv_kernel": [3],
        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    return WavLMModel(WavLMConfig(**sizes, **convolution)), {"input_values": torch.randn(1, 40)}


@pytest.mark.parametrize(
    ("make", "called", "skipped", "parent"),
    [(mamba, "x_proj", "dt_proj", "MambaMixer"), (wavlm, "intermediate_dense", "q_proj", "WavLMAttention")],
)
def test_a_branch_that_the_model_skips_is_an_error_in_the_first_forward_pass(
    make: Any, called: str, skipped: str, parent: str
) -> None:
    model, inputs = make()
    surgery.insert(model, LoRA, target_modules=[called, skipped])
    for one in (model, copy.deepcopy(model)):
        with pytest.raises(KronaError, match=rf"{skipped} would never run, because {parent} uses the weight"):
            one(**inputs)
    surgery.take_out(model)
    surgery.insert(model, LoRA, target_modules=[called])
    model(**inputs)
    surgery.take_out(model)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_branches_of_layers_that_a_pass_does_not_use_are_allowed() -> None:
    model = tiny_t5()
    encoded = model.get_encoder()(**{key: batch()[key] for key in ("input_ids", "attention_mask")})
    surgery.insert(model, LoRA, target_modules=["q", "wo"])  # T5 reads wo.weight.dtype, and calls wo
    model(encoder_outputs=encoded, labels=batch()["labels"])


def test_layers_of_torchs_fused_attention_are_refused() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 1).eval()
    for place in ("linear1", "norm2", "out_proj"):
        mistake = partial(surgery.insert, model, LoRA, target_modules=[place])
        refused(model, mistake, f"layers.0.*{place} would never run.* without calling the layer")


def test_norms_and_biases_of_such_layers_train_in_the_model_itself() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1).eval()
    x = torch.randn(2, 3, 8)
    before = model(x)
    surgery.insert(model, Bias, target_modules=["linear1"])
    assert "layers.0.linear1.bias" in surgery.trainable_state(model)
    disturb(model)
    with torch.no_grad():
        assert not torch.allclose(model(x), before, atol=1e-3)
    surgery.take_out(model)
    assert torch.equal(model(x), before)


class Shared(nn.Module):
    """A model that calls one layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = self.a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x))


def test_a_layer_with_two_names_is_adapted_under_both() -> None:
    torch.manual_seed(0)
    model, x = Shared().double(), torch.randn(2, 8).double()
    own, before = model.a, model(x)
    options: dict[str, Any] = {"target_modules": ["a"], "train_layer_norms": False}
    surgery.insert(model, LoRA, **options)
    disturb(model)
    unmerged = model(x)
    assert (unmerged - before).abs().max() > 0.01
    surgery.merge(model)
    assert close(model(x), unmerged)
    surgery.take_out(model)
    assert model.a is model.b is own
    assert torch.equal(model(x), before)
    surgery.insert(model, LoRA, **options)
    surgery.bake(model)
    assert model.a is model.b is own


class InPlace(nn.Module):
    """A model that changes the output of a layer in place, as Falcon, Longformer and LED do."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x).mul_(2)


@pytest.mark.parametrize(
    ("branch", "arguments"), [(Kronecker, {"kron_factors": [[4, 2]]}), (LoKr, {"rank": 8}), (LoRA, {})]
)
def test_a_layer_whose_output_is_changed_in_place_trains(branch: Any, arguments: dict[str, Any]) -> None:
    model = InPlace()
    surgery.insert(model, branch, **arguments, target_modules=["a"], train_layer_norms=False)
    model(torch.randn(2, 3, 8)).square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert any(p.grad.any() for p in trained if p.grad is not None)


@pytest.mark.parametrize(
    "parametrise",
    [parametrizations.weight_norm, parametrizations.spectral_norm,
     pytest.param(weight_norm, marks=pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning"))],
)  # fmt: skip
def test_a_parametrised_layer_is_refused(parametrise: Any) -> None:
    model = nn.Sequential(nn.Linear(8, 8), parametrise(nn.Linear(8, 8)))
    options: dict[str, Any] = {"target_modules": ["*"], "train_layer_norms": False}
    refused(model, partial(surgery.insert, model, LoRA, **options), "weight of 1 is parametrised", "target_modules")


class Squashed(nn.Linear):
    """A linear layer whose output is not linear, as that of transformers' ``AutoBitLinear``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).tanh()


class Renamed(nn.Linear):
    """A linear layer with the forward pass of ``nn.Linear``."""


class Borrowing(nn.Module):
    """A model that calls a layer, and also reads the dtype of its weight."""

    def __init__(self, kind: type[nn.Linear]) -> None:
        super().__init__()
        self.a = kind(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.a(x.to(self.a.weight.dtype))
        return y


@pytest.mark.parametrize("call", [surgery.merge, surgery.bake])
def test_a_merge_that_would_change_the_model_is_refused(call: Any) -> None:
    model, x = Borrowing(Squashed), torch.randn(3, 8)
    why = r"the forward\(\) of Squashed may compute something else than x Wᵀ \+ b"
    surgery.insert(model, LoRA, target_modules=["a"], train_layer_norms=False)
    disturb(model)
    before = model(x)
    refused(model, partial(call, model), f"cannot be merged into a, because {why}. Use the adapter unmerged")
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("kind", [nn.Linear, Renamed])
def test_reading_a_weights_dtype_does_not_prevent_a_merge(kind: Any) -> None:
    model, x = Borrowing(kind).double(), torch.randn(3, 8, dtype=torch.float64)
    surgery.insert(model, LoRA, target_modules=["a"], train_layer_norms=False)
    disturb(model)
    before = model(x)
    surgery.merge(model)
    torch.testing.assert_close(model(x), before, rtol=1e-9, atol=1e-9)


BRANCHES: list[tuple[Any, dict[str, Any]]] = [
    (Kronecker, {"kron_factors": [[8, 8]]}),
    (LoRA, {}),
    (LoRA, {"magnitude": True}),
    (Kronecker, {"kron_factors": [[8, 8]], "magnitude": True}),
]


@pytest.mark.parametrize(("branch", "arguments"), BRANCHES)
def test_an_offloaded_model_gives_its_own_outputs_or_an_error(branch: Any, arguments: dict[str, Any]) -> None:
    accelerate = pytest.importorskip("accelerate")
    model = tiny_t5()
    surgery.insert(model, branch, target_modules=["q", "v"], **arguments)
    disturb(model)
    expected = logits(model)
    accelerate.cpu_offload(model, execution_device="cpu")
    if "magnitude" in arguments:  # they need the weight of another module
        with pytest.raises(KronaError, match="offload"):
            logits(model)
    else:
        torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)  # fp32, other orders of sums
    with pytest.raises(KronaError, match=r"SelfAttention\.q: accelerate offloads the weight"):
        surgery.merge(model)
    bare = accelerate.cpu_offload(tiny_t5(), execution_device="cpu")
    with pytest.raises(KronaError, match="accelerate offloads the weight"):
        surgery.insert(bare, branch, target_modules=["q", "v"], **arguments)


@pytest.mark.parametrize(("branch", "arguments"), BRANCHES[:2])
def test_hooks_of_branches_and_layers_run(branch: Any, arguments: dict[str, Any]) -> None:
    model = tiny_t5()
    surgery.insert(model, branch, target_modules=["encoder.block.0.layer.0.SelfAttention.q"], **arguments)
    adapted: Any = model.encoder.block[0].layer[0].SelfAttention.q
    one, calls = adapted.branches[0], list[Any]()
    for module in (one, adapted.base):
        handle = module.register_forward_hook(lambda module, *_: calls.append(module))
        logits(model)
        assert calls == [module]
        handle.remove()
        calls.clear()
