"""Test the properties that every method must have, for every YAML file in conf/method, including new files."""

import copy
import io
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from krona import surgery
from krona.adapters.adapter import Adapter
from krona.backbones.memory import recompute_blocks
from krona.messages import KronaError
from tiny_t5 import (
    METHODS,
    batch,
    disturb,
    inserted,
    logits,
    method_values,
    same_bits,
    snapshot,
    tiny_t5,
    train,
)

# Methods whose output differs from the backbone's at the start, and the allowed difference of the tiny model's logits.
STARTS_AWAY = {"adapter": 1.0, "compacter": 1e-5, "krona_b_res": float("inf")}
DISTANCE = {"cdka_authors": 0.01}  # from the start, where 0.1 would be 11 times larger: the scale of the update
PARAMETRISED = pytest.mark.parametrize("name", METHODS)
NOT_MERGED = {"adapter", "bitfit", "compacter", "krona_b", "krona_b_res", "pa"}  # not linear beside a linear layer
TRAINED = [name for name in METHODS if name != "untuned"]


@PARAMETRISED
def test_output_at_step_0_is_the_backbones(name: str) -> None:
    model = tiny_t5()
    before = logits(model)
    inserted(name, model)
    if name in STARTS_AWAY:
        distance = (logits(model) - before).abs().max()
        assert 0 < distance < STARTS_AWAY[name]
    else:
        assert torch.equal(logits(model), before)


@PARAMETRISED
def test_only_what_it_names_trains_and_the_rest_keeps_its_bits(name: str) -> None:
    model = inserted(name)
    values = method_values(name)
    trainable = surgery.trainable_state(model)
    layer_norms = {key for key in trainable if "layer_norm.weight" in key}
    assert len(layer_norms) == (12 if values["train_layer_norms"] else 0)
    others = {key for key in trainable if key not in layer_norms}
    own = {surgery.public_name(n) for n, _ in model.named_parameters() if ".branches." in n or ".magnitudes." in n}
    assert others <= own or values.get("train_backbone")
    before = snapshot(model)
    if name == "untuned":
        assert not trainable
        return
    train(model, steps=3)
    changed = {
        surgery.public_name(key) for key, value in model.state_dict().items() if not torch.equal(value, before[key])
    }
    tied = {"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"} & {
        surgery.public_name(key) for key in before
    }
    shared = {key for key in changed if key.endswith(".rule")}
    assert changed - tied - shared <= set(trainable)
    assert set(trainable) <= changed


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_reach_every_trainable_parameter_within_two_steps(name: str) -> None:
    model = inserted(name)
    reached: set[str] = set()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        model(**batch(step)).loss.backward()
        reached |= {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
    assert reached == {n for n, p in model.named_parameters() if p.requires_grad}


@PARAMETRISED
def test_save_and_load_gives_the_same_bits_and_no_frozen_weight(name: str, tmp_path: Path) -> None:
    model = inserted(name)
    disturb(model)
    file = tmp_path / "adapter.safetensors"
    Adapter.of(model).save(file)
    other = tiny_t5()
    Adapter.load(file).insert(other)
    assert torch.equal(logits(model), logits(other))
    assert same_bits(snapshot(model), snapshot(other))
    with safe_open(file, framework="pt") as opened:
        assert set(opened.keys()) == set(surgery.trainable_state(model))


@pytest.mark.parametrize("gated", [False, True])  # with the FFN of T5 v1.1 and an untied head
@PARAMETRISED
def test_take_out_gives_the_backbone_back_to_the_bit(name: str, gated: bool) -> None:
    model = tiny_t5(gated=gated)
    before, output = snapshot(model), logits(model)
    names = [(n, p.requires_grad, id(p)) for n, p in model.named_parameters()]
    inserted(name, model)
    assert name in STARTS_AWAY or torch.equal(logits(model), output)
    if name != "untuned":
        train(model)
    surgery.take_out(model)
    assert same_bits(snapshot(model), before)
    assert torch.equal(logits(model), output)
    assert [(n, p.requires_grad, id(p)) for n, p in model.named_parameters()] == names
    assert not any(isinstance(module, surgery.Adapted) for module in model.modules())


@PARAMETRISED
def test_merge_keeps_the_logits_and_unmerge_the_bits(name: str) -> None:
    model = inserted(name)
    disturb(model, by=DISTANCE.get(name, 0.1))
    before, beside = snapshot(model), logits(model)
    if name in NOT_MERGED:
        with pytest.raises(KronaError, match="linear"):
            surgery.merge(model)
        assert same_bits(snapshot(model), before)
        return
    surgery.merge(model)
    merged = logits(model)
    assert (merged - beside).abs().max() <= 1e-5 * beside.abs().max()
    model.train()
    model.eval()
    assert torch.equal(logits(model), merged)
    surgery.unmerge(model)
    assert same_bits(snapshot(model), before)
    assert torch.equal(logits(model), beside)


@PARAMETRISED
def test_bf16_autocast(name: str) -> None:
    model = inserted(name)
    disturb(model, by=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        mixed = model(**batch()).logits
    full = logits(model)
    assert mixed.isfinite().all()
    assert (mixed.float() - full).abs().max() < 0.15 * full.abs().max()
    if name != "untuned":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(**batch()).loss.backward()


@pytest.mark.parametrize("name", TRAINED)
def test_gradient_checkpointing_changes_no_bit(name: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = inserted(name)
        disturb(model, by=DISTANCE.get(name, 0.1))
        if checkpointing:
            recompute_blocks(model)
        model.train()
        torch.manual_seed(3)  # dropout
        model(**batch(), use_cache=False).loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert same_bits(*gradients)


@PARAMETRISED
def test_generate_and_its_cache(name: str) -> None:
    model = inserted(name)
    disturb(model)
    inputs = {key: batch()[key] for key in ("input_ids", "attention_mask")}
    arguments = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    cached = model.generate(**inputs, **arguments, use_cache=True)
    assert torch.equal(cached, model.generate(**inputs, **arguments, use_cache=False))


@PARAMETRISED
def test_deepcopy_is_a_model_of_its_own(name: str) -> None:
    model = inserted(name)
    disturb(model)
    before = logits(model)
    twin = copy.deepcopy(model)
    assert torch.equal(logits(twin), before)
    assert surgery.count(twin) == surgery.count(model)
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}
    disturb(twin)
    assert torch.equal(logits(model), before)
    surgery.take_out(twin)
    assert same_bits(snapshot(twin), snapshot(tiny_t5()))


@PARAMETRISED
def test_pickle(name: str) -> None:
    model = inserted(name)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(logits(torch.load(file, weights_only=False)), logits(model))


@pytest.mark.parametrize("name", [n if n == "krona" else pytest.param(n, marks=pytest.mark.slow) for n in METHODS])
@torch.no_grad()
def test_torch_compile_traces_a_block_whole(name: str) -> None:
    torch._dynamo.reset()
    model = inserted(name)
    disturb(model, by=DISTANCE.get(name, 0.1))
    block = model.decoder.block[1]  # self-attention, cross-attention and FFN
    h, memory = torch.randn(2, 3, 64), torch.randn(2, 5, 64)
    expected = block(h, encoder_hidden_states=memory)[0]
    compiled = torch.compile(block, backend="eager", fullgraph=True)  # without a graph break
    torch.testing.assert_close(compiled(h, encoder_hidden_states=memory)[0], expected, rtol=0, atol=1e-5)
