"""Test the export to peft's folders. The reference is the logits of peft itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tiny_models
import tiny_t5
from krona import surgery
from krona.adapters.peft_folder import write_peft
from krona.backbones.insert_method import insert_method
from krona.messages import KronaError
from krona.surgery.state import norm_modules
from methods.cases import find_case
from tiny_models import combinations, tiny
from tiny_models import evaluate as output
from tiny_t5 import METHODS, close, settings

peft = pytest.importorskip("peft", reason="peft is not installed: nothing else reads its folders")

KINDS = ["t5", "bert", "llama", "gpt2"]
LINEAR_ALONE = {"LOKR"}  # peft supports it for nn.Linear, but not for the layers of GPT-2
# transformers has renamed an attribute that peft reads
pytestmark = [
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),  # the modules of LN_TUNING
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def fresh(kind: str) -> Any:
    return tiny(kind).double()


def trained(method: str, kind: str, **changes: Any) -> Any:
    """Return a tiny model with a method that was trained for a few steps."""
    model = fresh(kind)
    torch.manual_seed(1)
    insert_method(model, settings(method, **{**find_case(method).peft_arguments, **changes}))
    tiny_models.train(tiny_t5.prepared(model), steps=3)
    return model


def in_peft(kind: str, folder: Path) -> Any:
    return peft.PeftModel.from_pretrained(fresh(kind), folder).eval()


def peft_type(method: str, kind: str) -> str | None:
    case = find_case(method)
    return "LORA" if kind == "gpt2" and case.peft_type in LINEAR_ALONE else case.peft_types.get(kind, case.peft_type)


@pytest.mark.filterwarnings("error:.*[Mm]issing.*", "error:.*unexpected.*")
@pytest.mark.parametrize(("method", "kind"), combinations([m for m in METHODS if m != "untuned"], KINDS))
def test_peft_reads_a_written_folder(method: str, kind: str, tmp_path: Path) -> None:
    model, bare = trained(method, kind), output(fresh(kind))
    expected = output(model)
    if peft_type(method, kind) is None:
        with pytest.raises(KronaError, match=r"Merge|merge"):
            write_peft(model, tmp_path, base_model="tiny")
        assert not list(tmp_path.iterdir())
        return
    written = write_peft(model, tmp_path / "peft", base_model="tiny")
    assert written["peft_type"] == peft_type(method, kind)
    assert close(output(in_peft(kind, tmp_path / "peft").get_base_model()), expected)
    assert not close(bare, expected)
    surgery.take_out(model)
    assert torch.equal(output(model), bare)


FACTORS = {"t5": [[16, 8], [4, 8]], "bert": [[8, 4], [4, 8]], "llama": [[8, 4]], "gpt2": [[8, 4]]}
PRODUCTS: list[tuple[dict[str, Any], int]] = [  # changes of krona, and the number of Kronecker products of a module
    ({}, 1), ({"terms": 2}, 2), ({"modules_per_target": 2, "scaling": 3.0}, 2), ({"magnitude": True}, 1),
]  # fmt: skip
AS_LORA = [
    (kind, "krona", {"kron_factors": FACTORS[kind], **changes}, products * (8 * 4 if kind == "t5" else 4 * 4))
    for kind in KINDS
    for changes, products in PRODUCTS
]
AS_LORA += [
    ("t5", "krona", {"kron_factors": [[8, 8]], "residual": "scale"}, 64),  # an identity has the full rank
    ("gpt2", "lokr", {"rank": 1}, 4 * 1),  # c_attn: 4 × 8 → 8 × 12
    ("gpt2", "lokr", {"rank": 2, "decompose_both": True, "decompose_factor": 8}, 2 * 2),
]


@pytest.mark.parametrize(("kind", "method", "changes", "rank"), AS_LORA)
def test_a_product_that_peft_lacks_is_the_exact_lora_of_its_rank(
    kind: str, method: str, changes: dict[str, Any], rank: int, tmp_path: Path
) -> None:
    model = trained(method, kind, **changes)
    expected, config = output(model), write_peft(model, tmp_path, base_model="tiny")
    assert (config["peft_type"], config["r"]) == ("LORA", rank)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(next(p for key, p in tensors.items() if key.endswith("lora_A.weight"))) == rank
    assert close(output(in_peft(kind, tmp_path).get_base_model()), expected)


def test_a_lora_of_a_classifier_is_written(tmp_path: Path) -> None:
    model = trained("lora", "bert")
    expected = output(model)
    write_peft(model, tmp_path, base_model="tiny", task_type="SEQ_CLS")
    theirs = in_peft("bert", tmp_path)
    assert type(theirs) is peft.PeftModelForSequenceClassification
    assert close(output(theirs.get_base_model()), expected)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["query", "value"]
    assert config["modules_to_save"] == ["LayerNorm", "classifier"]
    assert config["base_model_name_or_path"] == "tiny"


@pytest.mark.parametrize("kind", KINDS)
def test_some_norms_are_written_as_ln_tuning(kind: str, tmp_path: Path) -> None:
    norm = norm_modules(fresh(kind))[1]
    model = fresh(kind)
    surgery.insert(model, head=[norm], train_layer_norms=False)
    tiny_t5.disturb(model)
    config = write_peft(model, tmp_path, base_model=None)
    assert (config["peft_type"], config["modules_to_save"]) == ("LN_TUNING", None)
    assert close(output(in_peft(kind, tmp_path)), output(model))


def test_without_peft_a_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained("lora", "t5")
    monkeypatch.setattr("krona.backbones.peft_branch.find_spec", lambda name: None)
    with pytest.raises(KronaError, match=r'pip install "krona-pet\[peft\]"'):
        write_peft(model, tmp_path, base_model=None)
