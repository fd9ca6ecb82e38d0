"""Test every method on every architecture that a family supports, with tiny models."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoConfig

import tiny_models
from krona.backbones import families
from krona.backbones.families import FAMILIES, Architecture, architecture, find_family
from krona.backbones.families.decoder import Decoder
from krona.backbones.families.encoder import Encoder
from krona.messages import KronaError
from krona.paths import PROJECT
from test_contract import check_life
from tiny_models import NAMES, tiny
from tiny_t5 import METHODS

OPT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48, "word_embed_proj_dim": 32,
    "vocab_size": 50,
}  # fmt: skip


def test_every_architecture_of_a_family_is_here() -> None:
    known = {kind for architectures in FAMILIES.values() for kind in architectures}
    assert known == {*NAMES, "t5"}
    for kind in known:
        AutoConfig.for_model(kind)


def pairs() -> list[Any]:
    """Return all pairs of a method and an architecture, most of them marked as slow."""
    fast = {(method, ("bert", "llama")[i % 2]) for i, method in enumerate(METHODS)}
    fast |= {(method, kind) for i, kind in enumerate(NAMES) for method in ("krona", ("krona_b", "bitfit")[i % 2])}
    every = ((method, kind) for method in METHODS for kind in NAMES)
    return [pytest.param(*pair, marks=[] if pair in fast else [pytest.mark.slow]) for pair in every]


@pytest.mark.parametrize(("method", "kind"), pairs())
def test_works_or_says_why_not(method: str, kind: str, tmp_path: Path) -> None:
    count, _ = check_life(method, lambda: tiny(kind), tmp_path / "a.safetensors")
    assert bool(count.head) == (kind in FAMILIES[Encoder])


@pytest.mark.parametrize("method", ["krona", "krona_b", "bitfit"])
def test_the_architecture_that_the_docs_add(method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The steps of docs/adding-a-backbone.md work on a tiny OPT."""
    text = (PROJECT / "docs" / "adding-a-backbone.md").read_text(encoding="utf-8")
    entry = yaml.safe_load(text.split("# src/krona/backbones/architectures.yaml\n")[1].split("```")[0])
    with pytest.raises(KronaError, match=r"the architecture 'opt'.*docs.adding-a-backbone"):
        find_family(AutoConfig.for_model("opt", **OPT), "mine")
    known = FAMILIES[Decoder] | {kind: Architecture(**values) for kind, values in entry.items()}
    monkeypatch.setitem(architecture.ARCHITECTURES, "decoder", known)
    monkeypatch.setattr(families, "FAMILIES", {**FAMILIES, Decoder: known})
    monkeypatch.setattr(tiny_models, "FAMILIES", {**FAMILIES, Decoder: known})
    monkeypatch.setitem(tiny_models.SIZES, "opt", OPT)
    test_works_or_says_why_not(method, "opt", tmp_path)
