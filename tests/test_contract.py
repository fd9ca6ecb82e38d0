"""Test the properties that every method must have, for every YAML file in conf/method, including new files."""

import copy
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from branch_faults import find_branch_fault
from krona import surgery
from krona.adapters.adapter_file import Adapter
from krona.kernels.t5_modules import RootMeanSquareNorm
from krona.messages import KronaError
from methods.cases import find_case
from tiny_models import evaluate as output
from tiny_models import train
from tiny_t5 import METHODS, batch, close, disturb, inserted, logits, method_values, same_bits, snapshot, tiny_t5

PARAMETRISED = pytest.mark.parametrize("name", METHODS)
TRAINED = [name for name in METHODS if name != "untuned"]
# Weights without a gradient: biases of keys, which softmax cancels, and unused embeddings.
NO_GRADIENT = ("k_proj.bias", "key.bias", "key_proj.bias", "k_lin.bias", "embed", "wpe")


@torch.no_grad()
def check_life(name: str, make: Callable[[], Any], file: Path) -> Any:
    """Check the life of an adapter in fp64, on a backbone from ``make``. Return its counts, and whether it merges."""
    model, bare = make().double(), make().double()
    bits, start = snapshot(bare), output(bare)
    names = [(n, p.requires_grad, id(p)) for n, p in model.named_parameters()]
    kinds = [type(module) for module in model.modules()]
    inserted(name, model)
    distance = (output(model) - start).abs().max()
    assert distance <= (find_case(name).start or 1e-9 * start.abs().max())
    count = surgery.count(model)
    assert count.backbone + count.head == sum(p.numel() for p in bare.parameters())
    assert bool(count.trainable) == (name != "untuned")
    assert ("head" in model.krona.options) == bool(count.head)

    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    trains = {n: p.clone() for n, p in surgery.trainable_state(model).items()}
    if trains:
        with torch.enable_grad():
            train(model, steps=3)
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    still = {n for n, p in surgery.trainable_state(model).items() if torch.equal(p, trains[n])}
    assert all(any(part in n for part in NO_GRADIENT) for n in still), still
    trained, expected = snapshot(model), output(model)
    assert name == "untuned" or find_branch_fault(model) is None

    Adapter.of(model).save(file)
    buffers = {surgery.public_name(n) for n, _ in model.named_buffers() if ".branches." in n}
    with safe_open(file, framework="pt") as opened:
        assert set(opened.keys()) == set(trains) | buffers
    other = make().double()
    Adapter.load(file).insert(other)
    assert same_bits(snapshot(other), trained)
    assert torch.equal(output(other), expected)

    is_mergeable, merges = surgery.is_mergeable(model), True
    try:
        surgery.merge(model)
        merged = output(model)
        assert close(merged, expected, find_case(name).merge_tolerance)
        assert torch.equal(output(model.train().eval()), merged)
        surgery.unmerge(model)
    except KronaError as error:
        merges = False
        assert re.search("not linear|constant part|bias|no single weight|cannot merge", str(error))  # noqa: PT017
    assert merges == is_mergeable
    assert same_bits(snapshot(model), trained)
    assert torch.equal(output(model), expected)

    surgery.take_out(model)
    assert same_bits(snapshot(model), bits)
    assert torch.equal(output(model), start)
    assert [(n, p.requires_grad, id(p)) for n, p in model.named_parameters()] == names
    assert [type(module) for module in model.modules()] == kinds
    return count, merges


GATED = ("krona", "krona_b", "bitfit", "pa", "full")  # the methods whose test with the FFN of T5 v1.1 is not slow


@pytest.mark.parametrize(
    ("name", "gated"),
    [(name, False) for name in METHODS]
    + [pytest.param(name, True, marks=() if name in GATED else pytest.mark.slow) for name in METHODS],
)
def test_the_life_of_an_adapter(name: str, gated: bool, tmp_path: Path) -> None:
    _, merges = check_life(name, lambda: tiny_t5(gated=gated), tmp_path / "a.safetensors")
    assert merges == find_case(name).merges


@PARAMETRISED
def test_only_what_it_names_trains(name: str) -> None:
    model, values = inserted(name, tiny_t5().double()), method_values(name)
    trainable = surgery.trainable_state(model)
    layer_norms = {key for key in trainable if "layer_norm.weight" in key}
    assert len(layer_norms) == (12 if values["train_layer_norms"] else 0)
    own = {surgery.public_name(n) for n, _ in model.named_parameters() if ".branches." in n or ".dora." in n}
    assert trainable.keys() - layer_norms <= own or values.get("train_backbone")
    assert close(logits(model), logits(tiny_t5().double())) == (find_case(name).start == 0)
    assert any(isinstance(module, RootMeanSquareNorm) for module in model.modules())


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
def test_bf16_autocast(name: str) -> None:
    model = inserted(name)
    disturb(model, by=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        mixed = model(**batch()).logits
    full = logits(model)
    assert mixed.isfinite().all()
    assert (mixed.float() - full).abs().max() < 0.15 * full.abs().max()  # bf16 has 8 bits: 0.4 % in each of 30 layers
    if name != "untuned":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(**batch()).loss.backward()


@pytest.mark.parametrize("name", TRAINED)
def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = inserted(name, tiny_t5().double())
        disturb(model, by=find_case(name).disturbance)
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        model.train()
        torch.manual_seed(3)  # dropout
        model(**batch(), use_cache=False).loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert close(*gradients)


@PARAMETRISED
def test_generate_and_its_cache(name: str) -> None:
    model = inserted(name).double()  # in fp32, rounding could decide between two tokens
    disturb(model)
    inputs = {key: batch()[key] for key in ("input_ids", "attention_mask")}
    arguments = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    cached = model.generate(**inputs, **arguments, use_cache=True)
    assert torch.equal(cached, model.generate(**inputs, **arguments, use_cache=False))


@PARAMETRISED
def test_a_copy_is_a_model_of_its_own_and_a_pickle_is_equal(name: str) -> None:
    model = inserted(name)
    disturb(model)
    before, file = logits(model), io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(logits(torch.load(file, weights_only=False)), before)
    twin = copy.deepcopy(model)
    assert torch.equal(logits(twin), before)
    assert surgery.count(twin) == surgery.count(model)
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}
    disturb(twin)
    assert torch.equal(logits(model), before)
    surgery.take_out(twin)
    assert same_bits(snapshot(twin), snapshot(tiny_t5()))


@pytest.mark.slow  # tests/training/test_compiled.py compiles the loss with krona
@PARAMETRISED
@torch.no_grad()
def test_torch_compile_traces_a_block_whole(name: str) -> None:
    torch._dynamo.reset()
    model = inserted(name, tiny_t5().double())
    disturb(model, by=find_case(name).disturbance)
    block = model.decoder.block[1]  # self-attention, cross-attention and FFN
    h, memory = torch.randn(2, 3, 64).double(), torch.randn(2, 5, 64).double()
    expected = block(h, encoder_hidden_states=memory)[0]
    compiled = torch.compile(block, backend="eager", fullgraph=True)  # without a graph break
    assert close(compiled(h, encoder_hidden_states=memory)[0], expected)
