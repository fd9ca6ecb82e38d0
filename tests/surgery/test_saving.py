"""Test the saving of adapted models: merged models load in transformers, and others raise an error."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from krona import surgery
from krona.messages import KronaError
from krona.methods.lora import LoRA
from methods.cases import find_case
from tiny_models import combinations, output, tiny, train
from tiny_t5 import METHODS, close, inserted

KINDS = ["bert", "gpt2", "llama", "mt5"]


@torch.no_grad()
@pytest.mark.parametrize(("method", "kind"), combinations(METHODS, KINDS))
def test_baked_it_is_a_checkpoint_of_plain_transformers_or_untouched(method: str, kind: str, tmp_path: Path) -> None:
    model = inserted(method, tiny(kind).double())
    if method != "untuned":
        with torch.enable_grad():
            train(model)
    expected = output(model)
    has_biases = any(name.endswith("bias") for name, _ in model.named_parameters())
    branches = any(True for _ in surgery.adapted_modules(model))
    if branches:
        for saver in (model.save_pretrained, copy.deepcopy(model).save_pretrained, model.push_to_hub):
            with pytest.raises(KronaError, match=r"surgery.bake\(.*surgery.take_out\(.*Adapter.of\(model\)"):
                saver(tmp_path)
    assert not list(tmp_path.iterdir())
    try:
        surgery.bake(model)
    except KronaError:
        assert branches
        case = find_case(method)
        assert not case.merges or (has_biases and not case.merges_with_bias)
        assert torch.equal(output(model), expected)
        surgery.take_out(model)
        model.save_pretrained(tmp_path)  # it may be saved again
        return
    assert close(output(model), expected)
    assert not [name for name, _ in model.named_parameters() if ".base." in name]
    model.save_pretrained(tmp_path)
    loaded, keys = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not [names for names in keys.values() if names]
    assert close(output(loaded.eval()), output(model))  # the layout of a merged weight may differ
    with pytest.raises(KronaError, match="no adapter in this model"):
        surgery.bake(model)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "tied"), [("gpt2", False), ("mt5", False), ("llama", False), ("bart", True)])
def test_a_tied_output_layer_that_is_baked_stays_untied(kind: str, tied: bool, tmp_path: Path) -> None:
    model: Any = tiny(kind).double()
    surgery.insert(model, LoRA, target_modules=["lm_head"], rank=2)
    for parameter in surgery.trainable_state(model).values():
        torch.nn.init.normal_(parameter)
    expected = output(model)
    surgery.bake(model)
    assert model.config.tie_word_embeddings == tied  # BART's key also ties the encoder to the decoder
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    if not tied:
        model.tie_weights()
    for one in (model, loaded.eval()):
        assert close(output(one), expected)
