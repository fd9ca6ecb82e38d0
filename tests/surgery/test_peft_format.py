"""Adapters out to peft's folders and in again: the logits of the real peft, and of krona after the way back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tiny_models
import tiny_t5
from krona import surgery
from krona.backbones.with_method import insert_method
from krona.messages import KronaError
from krona.methods.lora import LoRA
from krona.surgery.peft_format import write_peft
from tiny_t5 import METHODS, settings

peft = pytest.importorskip("peft", reason="peft is not installed: nothing else reads its folders")

KINDS = ["t5", "bert", "llama", "gpt2"]
CHANGES: dict[str, dict[str, Any]] = {
    "compacter": {"bottleneck_dim": 8}, "lora": {"rank": 3, "scaling": 0.7}, "dora": {"rank": 2, "scaling": 2.0},
}  # fmt: skip
FORMS = {"lora": "LORA", "dora": "LORA", "ia3": "IA3", "krona": "LOKR", "krona_dora": "LORA", "lokr": "LOKR"}
FORMS |= {"layer_norm": "LN_TUNING"}
# transformers renamed what peft asks for
pytestmark = [
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),  # LN_TUNING's own places
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def fresh(kind: str, seed: int = 0) -> Any:
    return tiny_t5.tiny_t5(seed=seed) if kind == "t5" else tiny_models.tiny(kind, seed=seed)


@torch.no_grad()
def output(model: Any) -> torch.Tensor:
    return tiny_models.output(model)


def trained(method: str, kind: str, **changes: Any) -> Any:
    """A tiny model with a method in it, a few steps from its start."""
    model = fresh(kind)
    torch.manual_seed(1)
    insert_method(model, settings(method, **{**CHANGES.get(method, {}), **changes}), counterparts={})
    tiny_models.train(model, steps=3)
    return model


def in_peft(kind: str, folder: Path) -> Any:
    return peft.PeftModel.from_pretrained(fresh(kind), folder).eval()


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-5 * b.abs().max())


@pytest.mark.filterwarnings("error:.*[Mm]issing.*", "error:.*unexpected.*")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [m for m in METHODS if m != "untuned"])
def test_peft_loads_what_was_written_or_the_reason_is_said(method: str, kind: str, tmp_path: Path) -> None:
    model = trained(method, kind)
    expected = output(model)
    if method not in FORMS:
        with pytest.raises(KronaError, match=r"surgery.bake\(model\)"):
            write_peft(model, tmp_path, base_model="tiny")
        assert not list(tmp_path.iterdir())
        return
    written = write_peft(model, tmp_path, base_model="tiny")
    conv1d = kind == "gpt2"  # peft's LoKr is for nn.Linear
    assert written.peft_type == ("LORA" if conv1d and FORMS[method] == "LOKR" else FORMS[method])
    theirs = in_peft(kind, tmp_path)
    assert close(output(theirs.get_base_model()), expected)
    assert not close(output(fresh(kind)), expected)


FACTORS = {"t5": [[16, 8], [4, 8]], "bert": [[8, 4], [4, 8]], "llama": [[8, 4]], "gpt2": [[8, 4]]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"terms": 2}, {"modules_per_target": 2, "scaling": 3.0}, {"magnitude": True}])
def test_other_kronecker_products_are_the_exact_lora_of_their_rank(
    kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    model = trained("krona", kind, kron_factors=FACTORS[kind], **changes)
    expected = output(model)
    written = write_peft(model, tmp_path, base_model="tiny")
    assert written.peft_type == "LORA"
    products = changes.get("terms", changes.get("modules_per_target", 1))
    first = next(at for _, at in surgery.adapted_modules(model))
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    rank = min({"t5": 8 * 4}.get(kind, 4 * 4) * products, *surgery.widths(first))
    assert len(next(p for key, p in tensors.items() if key.endswith("lora_A.weight"))) == rank
    assert written.values == sum(p.numel() for key, p in tensors.items() if "lora_" in key)
    branches = [p for _, at in surgery.adapted_modules(model) for _, p in at.own_parameters("default")]
    assert written.own_values == sum(p.numel() for p in branches)
    assert close(output(in_peft(kind, tmp_path).get_base_model()), expected)


def test_an_identity_in_the_update_takes_the_full_rank(tmp_path: Path) -> None:
    model = trained("krona", "t5", kron_factors=[[8, 8]], residual="scale")
    expected = output(model)
    write_peft(model, tmp_path, base_model="tiny")
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 64
    assert close(output(in_peft("t5", tmp_path).get_base_model()), expected)


def test_one_of_several_adapters_is_written_active_or_not(tmp_path: Path) -> None:
    model = trained("lora", "bert")
    expected = output(model)
    surgery.insert(model, LoRA, target_modules=["key"], name="other")
    write_peft(model, tmp_path, name="default", base_model="tiny", task_type="SEQ_CLS")
    theirs = in_peft("bert", tmp_path)
    assert type(theirs) is peft.PeftModelForSequenceClassification
    assert close(output(theirs.get_base_model()), expected)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["query", "value"]
    assert config["modules_to_save"] == ["LayerNorm", "classifier"]
    assert config["base_model_name_or_path"] == "tiny"
