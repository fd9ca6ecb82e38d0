"""Test every method on every architecture that a family supports, with tiny models."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoConfig

import tiny_models
from krona import surgery
from krona.adapters.adapter import Adapter
from krona.backbones import families
from krona.backbones.families import FAMILIES, Architecture, architecture, find_family
from krona.backbones.families.decoder import Decoder
from krona.backbones.families.encoder import Encoder
from krona.backbones.with_method import insert_method
from krona.messages import KronaError
from krona.paths import PROJECT
from tiny_models import NAMES, tiny
from tiny_t5 import METHODS, settings

STARTS_AWAY = {"adapter", "compacter", "krona_b_res"}  # tests/test_contract.py says by how much
OPT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48, "word_embed_proj_dim": 32,
    "vocab_size": 50,
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {"compacter": {"bottleneck_dim": 8}, "lokr": {}}


@torch.no_grad()  # with autograd, sdpa may use another kernel, which differs by 1e-6
def output(model: Any) -> torch.Tensor:
    return tiny_models.output(model)


def inserted(method: str, model: Any) -> Any:
    torch.manual_seed(1)
    insert_method(model, settings(method, **CHANGES.get(method, {})), counterparts={})
    return model


def test_every_architecture_of_a_family_is_here() -> None:
    known = {kind for architectures in FAMILIES.values() for kind in architectures}
    assert known == {*NAMES, "t5"}
    for kind in known:
        AutoConfig.for_model(kind)


def pairs() -> list[Any]:
    """Return all pairs of a method and an architecture, most of them marked as slow."""
    fast = {(method, kind) for method in METHODS for kind in ("bert", "llama")}
    fast |= {(method, kind) for method in ("krona", "krona_b", "bitfit") for kind in NAMES}
    every = ((method, kind) for method in METHODS for kind in NAMES)
    return [pytest.param(*pair, marks=[] if pair in fast else [pytest.mark.slow]) for pair in every]


@pytest.mark.parametrize(("method", "kind"), pairs())
def test_works_or_says_why_not(method: str, kind: str, tmp_path: Path) -> None:
    model, bare = tiny(kind), tiny(kind)
    before = output(bare)
    inserted(method, model)
    start = output(model)
    assert torch.equal(start, before) != (method in STARTS_AWAY) or torch.allclose(start, before, atol=1e-6)
    count = surgery.count(model)
    assert count.backbone + count.head == sum(p.numel() for p in bare.parameters())
    assert bool(count.head) == (kind in FAMILIES[Encoder])
    assert bool(count.trainable) == (method != "untuned")

    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    before_training = {n: p.clone() for n, p in surgery.trainable_state(model).items()}
    if before_training:
        tiny_models.train(model, steps=3)
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    trained = output(model)
    moved = {n for n, p in surgery.trainable_state(model).items() if not torch.equal(p, before_training[n])}
    assert moved == set(before_training) - _unused(moved, before_training)

    Adapter.of(model).save(tmp_path / "a.safetensors")
    other = tiny(kind)
    Adapter.load(tmp_path / "a.safetensors").insert(other)
    assert torch.equal(output(other), trained)
    _merged_is_equal(model, trained)
    surgery.take_out(model)
    assert torch.equal(output(model), before)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), bare.state_dict().values(), strict=True))


def _unused(moved: set[str], trained: dict[str, torch.Tensor]) -> set[str]:
    """Return the trained weights without a gradient: biases of keys, which softmax cancels, and unused embeddings."""
    without = ("k_proj.bias", "key.bias", "key_proj.bias", "k_lin.bias", "embed", "wpe")
    return {name for name in trained if name not in moved and any(part in name for part in without)}


@torch.no_grad()
def _merged_is_equal(model: Any, expected: torch.Tensor) -> None:
    try:
        surgery.merge(model)
    except KronaError as error:
        assert any(word in str(error) for word in ("constant part", "bias", "no single weight"))  # noqa: PT017
        assert torch.equal(output(model), expected)
        return
    merged = output(model)
    assert (merged - expected).abs().max() <= 1e-5 * expected.abs().max()
    surgery.unmerge(model)
    assert torch.equal(output(model), expected)


@pytest.mark.parametrize("method", ["krona", "krona_b", "bitfit"])
def test_the_architecture_that_the_docs_add(method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The steps of docs/adding-a-backbone.md work on a tiny OPT."""
    text = (PROJECT / "docs" / "adding-a-backbone.md").read_text(encoding="utf-8")
    entry = yaml.safe_load(text.split("# src/krona/backbones/architectures.yaml\n")[1].split("```")[0])
    with pytest.raises(KronaError, match=r"the architecture 'opt'.*decoder.layers.#.fc1"):
        find_family(AutoConfig.for_model("opt", **OPT), "mine")
    known = FAMILIES[Decoder] | {kind: Architecture(**values) for kind, values in entry.items()}
    monkeypatch.setitem(architecture.ARCHITECTURES, "decoder", known)
    monkeypatch.setattr(families, "FAMILIES", {**FAMILIES, Decoder: known})
    monkeypatch.setattr(tiny_models, "FAMILIES", {**FAMILIES, Decoder: known})
    monkeypatch.setitem(tiny_models.SIZES, "opt", OPT)
    test_works_or_says_why_not(method, "opt", tmp_path)
