"""Test benchmarks on an encoder and a decoder. The compared implementations train the same weights."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_models
from benches.bench_runner import run
from benchmarks import contestants
from benchmarks.settings import Entrant
from krona import surgery
from krona.config.settings import Backbone
from krona.messages import KronaError
from tiny_t5 import settings

PEFT = importlib.util.find_spec("peft") is not None
peft = pytest.mark.skipif(not PEFT, reason="peft is not installed")


def build_backbone(kind: str) -> Any:
    return contestants.frozen_backbone(Backbone(name=kind, architecture=kind, sizes=tiny_models.SIZES[kind]), seed=0)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_training(kind: str, tmp_path: Path) -> None:
    methods = ["layer_norm", "lora"]
    content = run(tmp_path, name="training", methods=methods, options={"backbone": kind})
    rows = {row["name"]: row for row in content["rows"]}
    assert {"floor", "floor + layer_norm", "floor/library", *methods} <= rows.keys()
    assert rows["floor"]["trainable"] == rows["floor/library"]["trainable"] == 0
    assert rows["floor + layer_norm"]["trainable"] == rows["layer_norm"]["trainable"] > 0

    assert not any("paper" in row for row in rows.values())  # its table is of T5-base
    assert content["backbones"] == {kind: f"org/{kind}"}


@pytest.mark.parametrize("kind", tiny_models.NAMES)
def test_the_batch_follows_the_protocol_and_the_floor_has_an_input_gradient(kind: str) -> None:
    model = contestants.with_fast_modules(build_backbone(kind))
    family, batch = contestants.build_family(model), contestants.random_batch(model, rows=3, length=9, seed=0)
    assert batch["input_ids"].shape == (3, 9)
    assert bool(batch["attention_mask"].all())
    tokens = [[1], [0], [1]] if not family.generates_text else [[49, 1, -100], [3, 49, 1], [49, 1, -100]]
    assert batch["labels"].tolist() == tokens
    words = [m for m in model.modules() if isinstance(m, torch.nn.Embedding) and m.num_embeddings == 50]
    asked: list[bool] = []
    step = contestants.training_step(family, model, batch, input_gradient=True)
    for module in words:
        module.register_forward_hook(lambda module, inputs, output: asked.append(output.requires_grad))
    step()
    assert asked[0]
    assert sum(asked) == 1  # the tokens of the source text alone
    assert all(parameter.grad is None for parameter in model.parameters())


@peft
@pytest.mark.parametrize("kind", sorted(set(tiny_models.NAMES) - {"gpt2"}))
def test_models_of_peft_train_the_same_layers_as_ours(kind: str) -> None:
    backbone = build_backbone(kind)
    ours = contestants.with_method(backbone, Entrant(name="lora", method=settings("lora", rank=1)), seed=0)
    shared = {id(parameter) for parameter in backbone.parameters()}
    places = {surgery.public_name(place) for place, _ in surgery.adapted_modules(ours)}
    for name, build in contestants.peft_twins(backbone).items():
        theirs = build()
        at = {place for place, module in theirs.get_base_model().named_modules() if hasattr(module, "base_layer")}
        assert at == places
        assert all((id(p) in shared) != p.requires_grad for p in theirs.parameters())
        if name == "peft/lora":
            trains = [sum(p.numel() for p in m.parameters() if p.requires_grad) for m in (ours, theirs)]
            assert trains[0] == trains[1]
            batch = contestants.random_batch(backbone, rows=2, length=5, seed=0)
            contestants.training_step(contestants.build_family(backbone), theirs, batch, input_gradient=False)()
            assert any(p.grad is not None for n, p in theirs.named_parameters() if "lora_B" in n)


@peft
def test_a_refusal_of_peft_is_one_message() -> None:
    twins = contestants.peft_twins(build_backbone("gpt2"))
    twins["peft/lora"]()
    with pytest.raises(KronaError, match=r"peft cannot insert its LOKR into this model: .*Conv1D.*bench\.peft=false"):
        twins["peft/lokr"]()


def test_a_backbone_without_sizes() -> None:
    with pytest.raises(KronaError, match=r"The YAML of bench\.options\.backbone in conf/backbone has no sizes"):
        contestants.frozen_backbone(Backbone(name="org/some"), seed=0)
