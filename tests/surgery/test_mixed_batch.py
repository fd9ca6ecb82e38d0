"""Test batches with several adapters: the output of each row equals that of its adapter alone."""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import tiny_models
from krona import surgery
from krona.backbones.with_method import insert_method
from krona.messages import KronaError
from krona.methods.adapter import Adapter
from krona.methods.lora import LoRA
from tiny_models import tiny
from tiny_t5 import METHODS, disturb, same_bits, settings, snapshot, tiny_t5

KINDS = ("t5", "bert", "llama")
MIXABLE = [method for method in METHODS if method != "full"]
ROWS = ["a", None, "b", "c", "a", "b"]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("lora", {"rank": 3, "scaling": 0.5, "modules_per_target": 2}),
    ("lora", {"placement": "sequential"}),
    ("lora", {"placement": "before", "target_modules": ["q", "v", "o"]}),
    ("krona", {"terms": 2, "scaling": 2.0}),
    ("krona", {"placement": "sequential", "target_modules": ["q"]}),
    ("krona_b", {"bias": 2, "non_linearity": "silu"}),
    ("krona_b", {"target_modules": ["SelfAttention"]}),
    ("krona_b_res", {"residual": "sigmoid", "bias": 0}),
    ("adapter", {"inner_residual": False}),
    ("lokr", {"decompose_both": True, "rank": 2}),
]


def put(model: nn.Module, name: str, method: str, seed: int, **overrides: Any) -> None:
    chosen = settings(method, **overrides)
    named = replace(chosen, placement={**chosen.placement, "name": name})
    torch.manual_seed(seed)
    insert_method(model, named, counterparts={}, reversible=True)
    disturb(model, seed=seed)


def with_three(kind: str, method: str, **overrides: Any) -> Any:
    model = tiny(kind)
    for seed, name in enumerate("abc"):
        put(model, name, method, seed, **overrides)
    return model


def inputs(model: nn.Module, rows: int = len(ROWS)) -> dict[str, Any]:
    batch = tiny_models.family_batch(model, rows=rows, length=7, tokens=3)
    return tiny_models.family_for(model).inputs(model, batch)


@torch.no_grad()
def logits(model: nn.Module, rows: int = len(ROWS)) -> torch.Tensor:
    return model(**inputs(model, rows)).logits


def one_by_one(model: nn.Module, names: Sequence[str | None] = ROWS) -> torch.Tensor:
    found = alone(model, names)
    return torch.stack([found[name][row] for row, name in enumerate(names)])


def alone(model: nn.Module, names: Sequence[str | None]) -> dict[str | None, torch.Tensor]:
    """Return a dict from each adapter to the outputs of all rows with this adapter alone."""
    active, found = model.__dict__["krona"].active, {}
    for name in names:
        surgery.activate(model, name)
        found[name] = logits(model, len(names))
    surgery.activate(model, active)
    return found


def generated(model: Any, rows: int = len(ROWS), **settings: Any) -> torch.Tensor:
    batch = tiny_models.family_batch(model, rows=rows, length=7, tokens=3)
    given = {key: batch[key] for key in ("input_ids", "attention_mask")}
    fixed = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": 1}
    return model.generate(**given, **fixed, **settings)


def close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((actual - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize(
    ("method", "kind"),
    [(method, "t5") for method in MIXABLE]
    + [(method, kind) for kind in ("bert", "llama") for method in ("krona", "krona_b", "ia3", "bitfit", "dora")],
)
def test_each_row_has_its_adapter(method: str, kind: str) -> None:
    model = with_three(kind, method)
    expected, before = one_by_one(model), snapshot(model)
    if method != "untuned":
        pairs = itertools.combinations(alone(model, ROWS).values(), 2)
        assert all((one - other).abs().max() > 1e-3 for one, other in pairs)
    others = ["c", "c", "a", None, "b", "a"]
    with surgery.mixed(model, ROWS) as batch:
        assert close(logits(model), expected)
        batch.set(others)
        switched = logits(model)
    assert close(switched, one_by_one(model, others))
    surgery.activate(model, "b")
    with surgery.mixed(model, ROWS):
        assert close(logits(model), expected)
    assert model.__dict__["krona"].active == "b"
    surgery.activate(model, "c")
    assert same_bits(snapshot(model), before)
    assert not [module for module in model.modules() if "forward" in module.__dict__]


@pytest.mark.parametrize(("method", "kind"), [("krona", "t5"), ("ia3", "t5"), ("dora", "t5"), ("krona_b", "llama")])
def test_generated_tokens_are_those_of_each_adapter(method: str, kind: str) -> None:
    model = tiny_t5(gated=True) if kind == "t5" else tiny(kind)  # with tied embeddings, T5 repeats its input
    for seed, name in enumerate("abc"):
        put(model, name, method, seed)
        disturb(model, seed=seed, by=0.5)
    expected: dict[str | None, torch.Tensor] = {}
    for name in ROWS:
        surgery.activate(model, name)
        expected[name] = generated(model, min_new_tokens=4)
    with surgery.mixed(model, ROWS):
        found = generated(model, min_new_tokens=4)
    assert all(torch.equal(found[row], expected[name][row]) for row, name in enumerate(ROWS))
    assert len({str(tokens.tolist()) for tokens in expected.values()}) > 1  # otherwise the test would prove nothing


OTHER_KINDS = [kind for kind in tiny_models.NAMES if kind not in (*KINDS, "deberta-v2")]


@pytest.mark.parametrize(
    ("kind", "method", "overrides"),
    [("t5", *variant) for variant in VARIANTS]
    + [(kind, method, {}) for kind in OTHER_KINDS for method in ("krona_b", "bitfit")],
)
def test_variants_and_other_architectures(kind: str, method: str, overrides: dict[str, Any]) -> None:
    model = with_three(kind, method, **overrides)
    with surgery.mixed(model, ROWS):
        mixed = logits(model)
    assert close(mixed, one_by_one(model))


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_of_several_methods(kind: str) -> None:
    model, names = tiny(kind), ["a", "b", None, "c", "d", "e", "f", "g", "a", "e"]
    for seed, method in enumerate(("lora", "lora", "krona_b", "dora", "bitfit", "ia3", "lora")):
        put(model, "abcdefg"[seed], method, seed, **({"rank": 2} if seed == 1 else {}))
    expected = one_by_one(model, names)
    for active in ("g", "e"):  # e trains biases of layers that d rescales
        surgery.activate(model, active)
        with surgery.mixed(model, names):
            assert close(logits(model, len(names)), expected)


def test_the_base_is_computed_once() -> None:
    model, calls = with_three("t5", "lora"), []
    places = [adapted for _, adapted in surgery.adapted_modules(model)]
    for adapted in places:
        adapted.base.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    with surgery.mixed(model, ROWS):
        logits(model)
    assert calls == [len(ROWS)] * len(places)


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16(kind: str) -> None:
    model = with_three(kind, "krona").bfloat16()
    with surgery.mixed(model, ROWS):
        mixed = logits(model)
    expected = one_by_one(model)
    assert mixed.dtype == torch.bfloat16
    assert (mixed - expected).abs().max() <= 0.05 * expected.abs().max()


def test_an_error_inside_puts_the_forwards_back() -> None:
    model = with_three("llama", "krona_b")
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    with pytest.raises(ZeroDivisionError), surgery.mixed(model, ROWS):
        raise ZeroDivisionError
    assert [len(module._forward_pre_hooks) for module in model.modules()] == hooks
    assert not [module for module in model.modules() if "forward" in module.__dict__]


def refuses(model: nn.Module, rows: Sequence[str | None], message: str, inside: Any = lambda: None) -> None:
    with pytest.raises(KronaError, match=message), surgery.mixed(model, rows):
        inside()


def test_beams_are_refused_and_beams_as_rows_are_not() -> None:
    model = with_three("llama", "lora")
    refuses(model, ["a", "b"], "each beam is a row", lambda: generated(model, 2, num_beams=2))
    with surgery.mixed(model, ["a", "a", "b", "b"]):
        found = generated(model, 2, num_beams=2)
    for row, name in enumerate("ab"):
        surgery.activate(model, name)
        own = generated(model, 2, num_beams=2)
        width = min(found.shape[1], own.shape[1])
        assert torch.equal(found[row, :width], own[row, :width])


def test_a_backbone_that_reads_a_weight_where_rows_are_expected() -> None:
    model = with_three("deberta-v2", "lora")
    refuses(model, ["a"] * 16, "a weight instead of rows", lambda: logits(model, 16))


def test_mistakes() -> None:
    model = with_three("t5", "lora")
    refuses(model, [], "rows is empty")
    refuses(model, ["a", "z"], "no adapter 'z'.*'a', 'b', 'c'")
    refuses(tiny_t5(), ["a"], "no adapter in this model")
    refuses(model, ["a", "b"], r"got 6 rows, .* of 2 rows", lambda: logits(model))
    refuses(model, ROWS, "gradients are enabled", lambda: model(**inputs(model)))
    expected = one_by_one(model)
    with surgery.mixed(model, ROWS) as batch:
        with pytest.raises(KronaError, match="no adapter 'z'"):
            batch.set(["z"])
        refuses(model, ROWS, r"in surgery\.mixed already")
        assert close(logits(model), expected)
    refuses(model.train(), ROWS, "training mode")


def test_surgery_inside() -> None:
    model = with_three("t5", "lora")
    expected = one_by_one(model)
    with surgery.mixed(model, ROWS):
        surgery.merge(model)
        with pytest.raises(KronaError, match="'c' is merged into the weights"):
            logits(model)
        surgery.unmerge(model)
        assert close(logits(model), expected)
        surgery.insert(model, Adapter, target_modules=["o"], name="d")
        with pytest.raises(KronaError, match="inserted or removed inside"):
            logits(model)
        surgery.take_out(model, "d")
        assert close(logits(model), expected)
    surgery.activate(model, "c")
    surgery.merge(model)
    refuses(model, ROWS, r"'c' is merged into the weights.*surgery\.unmerge")


def test_full_fine_tuning_shares_nothing() -> None:
    model = tiny("t5")
    put(model, "a", "lora", 0)
    put(model, "whole", "full", 1)
    refuses(model, ["a"], r"'whole' trains the backbone's weights.*surgery\.activate")
    surgery.activate(model, "a")
    refuses(model, ["a", "whole"], "'whole' trains the whole backbone")
    with surgery.mixed(model, ["a", None]):
        mixed = logits(model, 2)
        surgery.activate(model, "whole")
        with pytest.raises(KronaError, match="'whole' trains the backbone's weights"):
            logits(model, 2)
    surgery.activate(model, "a")
    assert close(mixed, one_by_one(model, ["a", None]))


def test_no_bare_backbone() -> None:
    model = tiny_t5()
    surgery.insert(model, LoRA, target_modules=["q"], reversible=False)
    disturb(model)
    expected = logits(model)
    with surgery.mixed(model, ["default"] * 6):
        assert close(logits(model), expected)
    refuses(model, ["default", None], "no bare backbone")


def test_a_weight_that_left_the_model() -> None:
    model = with_three("t5", "lora")
    model.decoder.final_layer_norm = copy.deepcopy(model.decoder.final_layer_norm)
    refuses(model, ROWS, r"decoder\.final_layer_norm\.weight, which adapter 'a' .* no longer in the model")
