"""Test the conversion to and from peft's folders. The reference is the logits of peft itself."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_models
import tiny_t5
from krona import surgery
from krona.adapters.adapter import Adapter
from krona.adapters.peft.reading import PeftImport, read_peft
from krona.adapters.peft.writing import write_peft
from krona.backbones.insert_method import insert_method
from krona.messages import KronaError
from krona.methods.lora import LoRA
from krona.surgery.state import norm_modules
from methods.cases import find_case
from tiny_models import combinations, tiny
from tiny_models import evaluate as output
from tiny_t5 import METHODS, close, refused, settings

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


def take_in(model: Any, folder: Path, *, name: str = "default") -> PeftImport:
    """Read a peft folder and insert its adapter."""
    read = read_peft(model, folder)
    read.adapter.insert(model, name=name)
    return read


def rejects(model: Any, folder: Path, message: str) -> None:
    refused(model, lambda: take_in(model, folder), message)


def in_peft(kind: str, folder: Path) -> Any:
    return peft.PeftModel.from_pretrained(fresh(kind), folder).eval()


def peft_type(method: str, kind: str) -> str | None:
    case = find_case(method)
    return "LORA" if kind == "gpt2" and case.peft_type in LINEAR_ALONE else case.peft_types.get(kind, case.peft_type)


@pytest.mark.filterwarnings("error:.*[Mm]issing.*", "error:.*unexpected.*")
@pytest.mark.parametrize(("method", "kind"), combinations([m for m in METHODS if m != "untuned"], KINDS))
def test_a_written_folder_is_read_by_peft_and_by_krona(method: str, kind: str, tmp_path: Path) -> None:
    model, bare = trained(method, kind), output(fresh(kind))
    expected = output(model)
    if peft_type(method, kind) is None:
        with pytest.raises(KronaError, match=r"Merge|merge"):
            write_peft(model, tmp_path, base_model="tiny")
        assert not list(tmp_path.iterdir())
        return
    written = write_peft(model, tmp_path / "peft", base_model="tiny")
    assert written.peft_type == peft_type(method, kind)
    assert close(output(in_peft(kind, tmp_path / "peft").get_base_model()), expected)
    assert not close(bare, expected)
    again = fresh(kind)
    read = take_in(again, tmp_path / "peft", name="mine")
    assert (read.peft_type, read.num_modules) == (written.peft_type, written.num_modules)
    assert close(output(again), expected)
    if find_case(method).returns_from_peft and peft_type(method, kind) == find_case(method).peft_type:
        assert surgery.count(again) == surgery.count(model)
    Adapter.of(again, "mine").save(tmp_path / "a.safetensors")
    other, third = fresh(kind), fresh(kind)
    Adapter.load(tmp_path / "a.safetensors").insert(other)
    assert close(output(other), output(again))
    write_peft(again, tmp_path / "again", base_model="tiny")
    take_in(third, tmp_path / "again")
    assert close(output(third), output(again))
    surgery.take_out(again)
    assert torch.equal(output(again), bare)


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
    expected, config = output(model), write_peft(model, tmp_path, base_model="tiny").config
    assert (config["peft_type"], config["r"]) == ("LORA", rank)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(next(p for key, p in tensors.items() if key.endswith("lora_A.weight"))) == rank
    assert close(output(in_peft(kind, tmp_path).get_base_model()), expected)


def test_the_active_one_of_several_adapters_is_written(tmp_path: Path) -> None:
    model = trained("lora", "bert")
    expected = output(model)
    surgery.insert(model, LoRA, target_modules=["key"], name="other")
    surgery.activate(model, "default")
    write_peft(model, tmp_path, base_model="tiny", task_type="SEQ_CLS")
    theirs = in_peft("bert", tmp_path)
    assert type(theirs) is peft.PeftModelForSequenceClassification
    assert close(output(theirs.get_base_model()), expected)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["query", "value"]
    assert config["modules_to_save"] == ["LayerNorm", "classifier"]
    assert config["base_model_name_or_path"] == "tiny"


def targets(kind: str) -> dict[str, Any]:
    return {
        "t5": {"lora": ["q", "v", "wo"], "norm": ["layer_norm", "final_layer_norm"]},
        "bert": {"lora": ["query", "output.dense"], "norm": ["LayerNorm"]},
        "llama": {"lora": ["q_proj", "v_proj", "down_proj"], "norm": ["norm"]},
        "gpt2": {"lora": ["c_attn", "mlp.c_proj"], "norm": ["ln_1", "ln_2", "ln_f"]},
    }[kind]  # fmt: skip


def made_by_peft(kind: str, config: Any, folder: Path) -> torch.Tensor:
    """Let peft write a folder with random weights. Return the logits of the model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about fan_in_fan_out, which peft corrects itself
        model = peft.get_peft_model(fresh(kind), config).eval()
    tiny_t5.disturb(model, by=0.2)
    model.save_pretrained(folder)
    return output(model.get_base_model())


def comes_in(kind: str, config: Any, folder: Path) -> tuple[Any, PeftImport]:
    """Read a folder that peft wrote, and compare the logits. Return the model and the content of the folder."""
    expected, model = made_by_peft(kind, config, folder), fresh(kind)
    read = take_in(model, folder)
    assert close(output(model), expected)
    assert not close(output(fresh(kind)), expected)
    return model, read


SECOND = r".*\.1\..*"  # the modules of the second layer
FOLDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "LoRA plain": lambda t: peft.LoraConfig(target_modules=t["lora"], r=4, lora_alpha=6),
    "LoRA dora": lambda t: peft.LoraConfig(target_modules=t["lora"], r=4, use_dora=True, lora_dropout=0.1),
    "LoRA rslora": lambda t: peft.LoraConfig(target_modules=t["lora"], r=3, lora_alpha=5, use_rslora=True),
    "LoRA one layer": lambda t: peft.LoraConfig(target_modules=t["lora"], r=2, layers_to_transform=[1]),
    "LoRA all": lambda t: peft.LoraConfig(target_modules="all-linear", r=2, init_lora_weights="gaussian"),
    "FittedLoRA": lambda t: peft.LoraConfig(target_modules=t["lora"], r=80, lora_alpha=8),
    "LoRA patterns": lambda t: peft.LoraConfig(
        target_modules=t["lora"], r=4, lora_alpha=3, rank_pattern={t["lora"][-1]: 2},
        alpha_pattern={rf"{SECOND}{t['lora'][0]}": 7}, use_rslora=True,
    ),
    "None": lambda t: peft.LNTuningConfig(target_modules=t["norm"][:1]),
    "LoKr": lambda t: peft.LoKrConfig(target_modules=t["lora"][-1:], r=2, alpha_pattern={SECOND: 5}),
    "LoKr both": lambda t: peft.LoKrConfig(
        target_modules=t["lora"][-1:], r=2, decompose_both=True, decompose_factor=8
    ),
    "Kronecker": lambda t: peft.LoKrConfig(
        target_modules=t["lora"][-1:], r=64, alpha=9, decompose_factor=2, rank_pattern={SECOND: 48}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), combinations(FOLDERS, KINDS))
def test_a_folder_of_peft_is_read_exactly(name: str, kind: str, tmp_path: Path) -> None:
    if kind == "gpt2" and name.startswith(("LoKr", "Kronecker")):
        pytest.skip("peft has these types for nn.Linear, but not for the layers of GPT-2")
    model, read = comes_in(kind, FOLDERS[name](targets(kind)), tmp_path)
    assert str(read.adapter.config.branch).rpartition(".")[2] == name.split()[0]
    write_peft(model, tmp_path / "again", base_model="tiny")
    assert close(output(in_peft(kind, tmp_path / "again").get_base_model()), output(model))


@pytest.mark.parametrize("kind", KINDS)
def test_some_norms_go_out_and_come_in(kind: str, tmp_path: Path) -> None:
    norm = norm_modules(fresh(kind))[1]
    model = fresh(kind)
    surgery.insert(model, head=[norm], train_layer_norms=False)
    tiny_t5.disturb(model)
    config = write_peft(model, tmp_path, base_model=None).config
    assert (config["peft_type"], config["modules_to_save"]) == ("LN_TUNING", None)
    assert close(output(in_peft(kind, tmp_path)), output(model))
    again = fresh(kind)
    take_in(again, tmp_path)
    assert close(output(again), output(model))


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.parametrize("kind", ["t5", "gpt2", "llama"])
def test_an_adapter_of_the_output_layer_comes_in(kind: str, tmp_path: Path) -> None:
    comes_in(kind, peft.LoraConfig(r=2, target_modules=["lm_head"]), tmp_path)  # with the layer's own weight
    other = fresh(kind)
    with torch.no_grad():
        other.get_output_embeddings().weight.mul_(2)
    with pytest.raises(KronaError, match=r"lm_head\.base_layer\.weight, which differs"):
        take_in(other, tmp_path)


def test_a_head_of_a_classifier_comes_in(tmp_path: Path) -> None:
    config = peft.LoraConfig(target_modules=["query"], task_type="SEQ_CLS")  # peft adds the classifier
    model, read = comes_in("bert", config, tmp_path)
    assert read.modules_to_save == ("classifier",)
    assert model.krona.adapters["default"].options["head"] == ["classifier"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"peft_type": "CPT"},
            r"peft_type='CPT' is not supported. krona supports LORA, ADALORA, ADAMSS",
        ),
        ({"peft_type": "RANDLORA"}, r"names differ \(first base_model.model"),
        ({"peft_type": None}, r"peft_type=None is not supported"),
        ({"bias": "all"}, r"bias='all'"),
        ({"lora_bias": True}, r"these settings are not supported: lora_bias=True"),
        ({"layer_replication": [[0, 2], [1, 2]]}, r"layer_replication="),
        ({"alora_invocation_tokens": [1]}, r"alora_invocation_tokens="),
        ({"init_weights": "bat"}, r"these settings are not supported: init_weights='bat'"),
        ({"init_lora_weights": "pissa_niter_4"}, r"pissa_niter_4.*path_initial_model_for_weight_conversion"),
        ({"use_dora": True}, r"lora_magnitude_vector"),
        ({"lora_alpha": "many"}, r"cannot load .*many|cannot load .*TypeError"),
        ({"alpha_pattern": {"(": 3}}, r"cannot load .*(error|PatternError)"),
        ({"target_modules": ["q", "k", "v"]}, r"names differ \(first base_model.model.*\.k\.lora_A"),
        ({"target_modules": ["q"]}, r"names differ \(first base_model.model.*\.v\.lora_A"),
        ({"target_modules": ["nothing"]}, r"cannot load .*No modules were targeted"),
        ({"modules_to_save": ["lm_head"]}, r"cannot load|names differ"),
    ],
)
def test_what_krona_cannot_express_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_peft(trained("lora", "t5"), tmp_path, base_model="tiny")
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    rejects(fresh("t5"), tmp_path, message)


def test_a_folder_never_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_peft(trained("lora", "t5"), tmp_path, base_model="tiny")
    (tmp_path / "evil.py").write_text("raise SystemExit('the code of a folder ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    evil = {"base_model_class": "Evil", "parent_library": "evil"}
    path.write_text(json.dumps(config | {"auto_mapping": evil, "megatron_core": "evil"}))
    take_in(fresh("t5"), tmp_path)
    path.write_text(json.dumps(config | {"megatron_config": {"a": 1}, "megatron_core": "evil"}))
    rejects(fresh("t5"), tmp_path, "megatron_config=")
    path.write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").unlink()
    (tmp_path / "adapter_model.bin").write_bytes(b"cos\nsystem\n")
    rejects(fresh("t5"), tmp_path, "safetensors was not found. krona never loads a pickle file")


def test_other_weights_and_another_backbone_are_refused(tmp_path: Path) -> None:
    write_peft(trained("lora", "t5"), tmp_path, base_model="tiny")
    weights = tmp_path / "adapter_model.safetensors"
    whole = load_file(weights)
    rejects(fresh("bert"), tmp_path, "cannot load .*Target modules")
    rejects(tiny_t5.tiny_t5(d_model=32).double(), tmp_path, "cannot load .*size mismatch")
    one = next(key for key in whole if "lora_A" in key)
    for change, message in [
        ({one: whole[one][:, :-1]}, "cannot load .*size mismatch"),
        ({one: whole[one][:2]}, "cannot load .*size mismatch"),
        ({"base_model.model.shared.weight": torch.zeros(50, 64)}, "names differ .*shared.weight"),
        ({"base_model.model.shared.base_layer.weight": torch.zeros(50, 64)}, "differs from this backbone's weight"),
        ({"base_model.model.shared.lora_embedding_A": torch.zeros(2, 50)}, "names differ .*lora_embedding_A"),
        ({"other.q.lora_A.weight": torch.zeros(2, 2)}, "names differ .*other.q"),
    ]:
        save_file(whole | {key: p.contiguous() for key, p in change.items()}, weights)
        rejects(fresh("t5"), tmp_path, message)
    weights.write_bytes(weights.read_bytes()[:100])
    rejects(fresh("t5"), tmp_path, "cannot be read as a safetensors file")
    weights.unlink()
    rejects(fresh("t5"), tmp_path, "adapter_model.safetensors was not found")
    (tmp_path / "adapter_config.json").write_text("{")
    rejects(fresh("t5"), tmp_path, "cannot be read as JSON")


def test_without_peft_a_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained("lora", "t5")
    monkeypatch.setattr("krona.backbones.peft_config.find_spec", lambda name: None)
    for step in (lambda: write_peft(model, tmp_path, base_model=None), lambda: read_peft(model, tmp_path)):
        with pytest.raises(KronaError, match=r'pip install "krona-pet\[peft\]"'):
            step()


@pytest.mark.parametrize(("kind", "word"), [("gpt2", "wte"), ("t5", "shared"), ("gpt2", "lm_head")])
def test_an_embedding_that_is_tied_to_the_output_layer_is_refused(kind: str, word: str, tmp_path: Path) -> None:
    """peft trains a copy of the embedding, which is used for the input alone."""
    first = targets(kind)["lora"][:1]
    made_by_peft(kind, peft.LoraConfig(target_modules=first, r=2, modules_to_save=[word]), tmp_path)
    model = fresh(kind)
    model.tie_weights()
    rejects(model, tmp_path, "two modules of this backbone share this weight")


def test_a_folder_comes_in_beside_another_adapter_or_not_at_all(tmp_path: Path) -> None:
    model = trained("lora", "t5")
    write_peft(model, tmp_path, base_model="tiny")
    expected = output(model)
    krona = trained("krona", "t5")
    own = output(krona)
    with pytest.raises(KronaError, match="in this model already"):
        take_in(krona, tmp_path)
    assert torch.equal(output(krona), own)
    take_in(krona, tmp_path, name="lora")
    assert close(output(krona), expected)
    surgery.activate(krona, "default")
    assert torch.equal(output(krona), own)
