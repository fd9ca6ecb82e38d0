"""Branches prepared for inference: the same outputs, few operations, and never an old weight."""

import copy
import io

import pytest
import torch

from krona import surgery
from krona.messages import KronaError
from krona.surgery import inference
from krona.surgery.operations import dispatched
from tiny_t5 import METHODS, batch, disturb, inserted, logits, tiny_t5

UNMERGEABLE = ["pa", "adapter", "compacter", "krona_b", "krona_b_res"]
A_PLACE = {"pa": 0, "krona_b": 2, "krona_b_res": 3, "adapter": 3, "compacter": 3}  # operations added
PLACES = {"pa": 4, "krona_b": 4, "krona_b_res": 4, "adapter": 8, "compacter": 8}  # of the tiny model
VARIANTS = [
    ("krona_b", {"bias": 2}),
    ("krona_b", {"bias": 0}),
    ("krona_b", {"non_linearity": "silu"}),
    ("krona_b", {"non_linearity": "silu", "bias": 2}),
    ("krona_b", {"terms": 2}),
    ("krona_b", {"modules_per_target": 1, "kron_factors": [[2, 16]]}),
    ("krona_b_res", {"residual": "sigmoid"}),
    ("krona_b_res", {"bias": 0}),
    ("pa", {"non_linearity": "silu"}),
    ("pa", {"modules_per_target": 2, "bottleneck_dim": 5}),
    ("pa", {"target_modules": ["SelfAttention"]}),
    ("krona_b", {"target_modules": ["SelfAttention"]}),
    ("adapter", {"inner_residual": False}),
    ("adapter", {"bottleneck_dim": 24, "non_linearity": "relu"}),
]


def disturbed(name: str, **overrides: object) -> torch.nn.Module:
    model = inserted(name, **overrides)
    disturb(model)
    return model


def operations(model: torch.nn.Module) -> int:
    return dispatched(lambda: logits(model)).total()


def close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((actual - expected).abs().max() <= 1e-5 * expected.abs().max())


@pytest.mark.parametrize("name", METHODS)
def test_outputs_are_the_plain_modules(name: str) -> None:
    model = disturbed(name)
    before = logits(model)
    if list(surgery.adapted_modules(model)):
        inference.prepare(model)
    assert close(logits(model), before)
    inference.release(model)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize(("name", "overrides"), VARIANTS)
def test_outputs_of_variants(name: str, overrides: dict[str, object]) -> None:
    model = disturbed(name, **overrides)
    before = logits(model)
    assert inference.prepare(model) == len(list(surgery.adapted_modules(model)))
    assert close(logits(model), before)


@pytest.mark.parametrize("name", UNMERGEABLE)
def test_on_a_gated_ffn(name: str) -> None:
    model = inserted(name, tiny_t5(gated=True))
    disturb(model)
    before = logits(model)
    assert inference.prepare(model)
    assert close(logits(model), before)


@pytest.mark.parametrize("name", UNMERGEABLE)
def test_operations_added(name: str) -> None:
    bare = operations(tiny_t5())
    model = disturbed(name)
    plain = operations(model) - bare
    inference.prepare(model)
    logits(model)
    prepared = operations(model) - bare
    assert prepared <= A_PLACE[name] * PLACES[name]
    assert prepared < plain


@pytest.mark.parametrize("name", ["lora", "krona", "krona_dora", "ia3"])
def test_merged_adds_no_operation(name: str) -> None:
    bare = operations(tiny_t5())
    model = disturbed(name)
    surgery.merge(model)
    assert operations(model) == bare


@pytest.mark.parametrize("name", UNMERGEABLE)
def test_every_weight_that_changes_is_seen(name: str) -> None:
    model = disturbed(name)
    inference.prepare(model)
    at_places = [p for _, place in surgery.adapted_modules(model) for p in place.parameters()]
    weights = {id(p): p for p in at_places}.values()
    for weight in list(weights)[:14]:
        logits(model)
        with torch.no_grad():
            weight.add_(0.05 * torch.randn(weight.shape))
        prepared = logits(model)
        inference.release(model)
        plain = logits(model)
        inference.prepare(model)
        assert close(prepared, plain)


@pytest.mark.parametrize("name", UNMERGEABLE)
def test_a_layer_of_the_ffn_that_is_exchanged_is_seen(name: str) -> None:
    model = disturbed(name)
    inference.prepare(model)
    before = logits(model)
    place = next(place for where, place in surgery.adapted_modules(model) if "DenseReluDense" in where)
    place.base.wo = torch.nn.Linear(place.base.wo.in_features, place.base.wo.out_features, bias=False)
    prepared = logits(model)
    inference.release(model)
    assert close(prepared, logits(model))
    assert not close(prepared, before)


@pytest.mark.parametrize("name", UNMERGEABLE)
def test_a_hook_in_the_ffn_is_called(name: str) -> None:
    model = disturbed(name)
    inference.prepare(model)
    logits(model)
    few = operations(model)
    place = next(place for where, place in surgery.adapted_modules(model) if "DenseReluDense" in where)
    seen: list[torch.Tensor] = []
    hook = place.base.wo.register_forward_hook(lambda module, inputs, output: seen.append(output))
    logits(model)
    assert len(seen) == 1
    hook.remove()
    logits(model)  # prepared again
    assert operations(model) == few


def test_scale_tensor_and_adapter_that_change_are_seen() -> None:
    model = disturbed("krona_b")
    first = logits(model)
    inference.prepare(model)
    logits(model)
    _, place = next(iter(surgery.adapted_modules(model)))
    branch = place.branches["default"][0]
    branch.scaling = 1.0
    changed = logits(model)
    assert not close(changed, first)
    branch.scaling = 4.0
    assert close(logits(model), first)
    branch.A = torch.nn.Parameter(2 * branch.A.detach())
    twice = logits(model)
    assert not close(twice, first)
    branch.A.data = branch.A.data / 2  # another storage
    assert close(logits(model), first)
    surgery.activate(model, None)
    assert torch.equal(logits(model), logits(tiny_t5_with_norms_of(model)))


def tiny_t5_with_norms_of(model: torch.nn.Module) -> torch.nn.Module:
    bare = copy.deepcopy(model)
    surgery.take_out(bare)
    return bare


def test_training_autograd_and_autocast_take_the_plain_modules() -> None:
    model = disturbed("pa")
    expected = model(**batch()).logits
    inference.prepare(model)
    assert torch.equal(model(**batch()).logits, expected)
    model.train()
    model(**batch()).loss.backward()
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(**batch()).logits
    inference.release(model)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(**batch()).logits, mixed)


def test_a_copy_and_a_pickle_are_prepared_for_themselves() -> None:
    model = disturbed("pa")
    inference.prepare(model)
    before = logits(model)
    twin = copy.deepcopy(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    disturb(model, seed=5)
    assert not close(logits(model), before)
    assert close(logits(twin), before)
    assert close(logits(loaded), before)


def test_nothing_to_prepare() -> None:
    with pytest.raises(KronaError, match=r"no adapter is in this model.*surgery\.insert"):
        inference.prepare(tiny_t5())


@torch.no_grad()
def test_batches_of_any_size_and_zero_rows() -> None:
    model = disturbed("krona_b_res")
    _, place = next(iter(surgery.adapted_modules(model)))
    for rows in (0, 1, 500):
        x = torch.randn(rows, 64)
        expected = place(x)
        inference.prepare(model)
        actual = place(x)
        inference.release(model)
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
