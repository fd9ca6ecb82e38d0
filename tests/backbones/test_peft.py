"""LoRA, DoRA and (IA)³ of our YAMLs against peft on a BERT and a Llama: outputs with the same values in both."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from krona import surgery
from krona.backbones.families import target_patterns
from krona.backbones.with_method import insert_method
from tiny_models import output, tiny
from tiny_t5 import disturb, settings

peft = pytest.importorskip("peft", reason="peft is not installed: the comparison with it is left out")

# peft asks transformers by a name that transformers has since changed
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

LORA = {"A": ("lora_A.default.weight", torch.t), "B": ("lora_B.default.weight", torch.t)}
DORA = LORA | {"magnitude": ("lora_magnitude_vector.default.weight", lambda p: p)}
IA3 = {"scale": ("ia3_l.default", lambda p: p)}


def config_of(method: str, model: Any) -> Any:
    def at(*words: str) -> list[str]:
        patterns = list(target_patterns(model, words))
        return surgery.find_places(model, patterns)

    if method == "ia3":
        return peft.IA3Config(target_modules=at("k", "v", "wo"), feedforward_modules=at("wo"))
    return peft.LoraConfig(r=3, lora_alpha=6, target_modules=at("q", "v"), use_dora=method == "dora")


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize(("method", "names"), [("lora", LORA), ("dora", DORA), ("ia3", IA3)])
@torch.no_grad()
def test_outputs_are_pefts(method: str, names: dict[str, Any], kind: str) -> None:
    ours = tiny(kind)
    before, theirs = output(ours), peft.get_peft_model(copy.deepcopy(ours), config_of(method, ours))
    changes = {} if method == "ia3" else {"rank": 3, "scaling": 2.0}
    insert_method(ours, settings(method, train_layer_norms=False, **changes), counterparts={})
    disturb(ours)
    targets: dict[str, Tensor] = dict(theirs.get_base_model().named_parameters())
    copied = set()
    for name, parameter in surgery.trainable_state(ours).items():
        place, _, last = name.rpartition(".")
        if last not in names:  # the new head
            assert kind == "bert"
            targets[name].copy_(parameter)
            continue
        suffix, change = names[last]
        target = targets[f"{place.removesuffix('.0')}.{suffix}"]
        target.copy_(change(parameter).reshape(target.shape))
        copied.add(f"{place.removesuffix('.0')}.{suffix}")
    assert copied == {name for name, parameter in targets.items() if parameter.requires_grad}
    expected = output(theirs.eval().get_base_model())
    assert (output(ours) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (expected - before).abs().max() > 1e-2 * expected.abs().max()
