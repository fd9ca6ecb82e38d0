"""Weighted sums of adapters: equal to dense sums where they are exact, the nearest of a size by NumPy's oracle."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from krona import surgery
from krona.adapters.combining import combine
from krona.adapters.file import load_adapter, save_adapter
from krona.backbones.with_method import insert_method
from krona.messages import KronaError
from krona.methods.kronecker import Kronecker
from krona.methods.lora import LoRA
from tiny_models import tiny
from tiny_t5 import disturb, same_bits, settings, snapshot, tiny_t5

WEIGHTS = [0.7, -0.4]


@torch.no_grad()
def output(model: Any) -> torch.Tensor:
    return tiny_models.output(model)


def fresh(kind: str) -> Any:
    return tiny_t5() if kind == "t5" else tiny(kind)


def two(kind: str, method: str, first: dict[str, Any], second: dict[str, Any]) -> Any:
    """A model with two adapters of a method, ``a`` and ``b``, all of it away from the start."""
    model, other = fresh(kind), fresh(kind)
    for name, changes, seed in (("a", first, 3), ("b", second, 4)):
        insert_method(other, settings(method, **changes), counterparts={})
        wanted = other.krona.adapters["default"]
        surgery.take_out(other)
        torch.manual_seed(seed)
        surgery.insert(model, wanted.branch, name=name, **wanted.insertion, **wanted.branch_config)
        disturb(model, seed=seed, by=0.2)
    return model


def updates(model: Any, name: str) -> dict[str, np.ndarray]:
    """The dense update of each place, in fp64."""
    found = {}
    for place, at in surgery.adapted_modules(model):
        if name in at.branches:
            deltas = []
            for branch in copy.deepcopy(at.branches[name]).double():
                deltas.append(branch.linear_part() if hasattr(branch, "linear_part") else branch.delta())
            found[surgery.public_name(place)] = sum(deltas).detach().numpy()
    return found


def summed(model: Any, weights: list[float]) -> dict[str, np.ndarray]:
    of_a, of_b = updates(model, "a"), updates(model, "b")
    return {p: sum(w * u.get(p, 0.0) for w, u in zip(weights, (of_a, of_b), strict=True)) for p in of_a | of_b}


LINEAR: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    ("lora", {"rank": 2, "scaling": 1.5}, {"rank": 3}, 5),
    ("lora", {"rank": 2}, {"rank": 1, "target_modules": ["q", "o"]}, 3),
    ("lora", {"rank": 12}, {"rank": 9}, 21),
    ("krona", {"kron_factors": [[8, 4]], "scaling": 2.0}, {"kron_factors": [[8, 4]]}, 2),
    ("krona", {"kron_factors": [[8, 4]], "terms": 2}, {"kron_factors": [[8, 4]], "modules_per_target": 2}, 4),
    ("krona_b", {"kron_factors": [[8, 8]], "bias": 1}, {"kron_factors": [[8, 8]], "bias": 0}, 4),
    ("krona_b_res", {"kron_factors": [[8, 4]]}, {"kron_factors": [[8, 4]], "residual": "sigmoid", "bias": 0}, 4),
    ("lokr", {"rank": 2}, {"rank": 3, "decompose_both": True}, 2),
]


@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize(("method", "first", "second", "size"), LINEAR)
def test_the_whole_sum_is_exact(
    method: str, first: dict[str, Any], second: dict[str, Any], size: int, kind: str, tmp_path: Path
) -> None:
    if method == "lokr" and kind == "llama":
        pytest.skip("its v is narrower: the shapes that LoKr's rule gives differ by place")
    model = two(kind, method, first, second)
    expected = summed(model, WEIGHTS)
    combined = combine(model, ["a", "b"], WEIGHTS, into="both")
    assert combined.size == size
    assert combined.error == 0
    got = updates(model, "both")
    assert got.keys() == expected.keys() == combined.errors.keys()
    for place, update in expected.items():
        assert np.abs(got[place] - update).max() <= 1e-6 * np.abs(update).max()
    _norms_are_the_sum(model, WEIGHTS)
    after = output(model)
    surgery.take_out(model, "a")
    surgery.take_out(model, "b")
    assert torch.equal(output(model), after)
    save_adapter(model, tmp_path / "both.safetensors")
    other = fresh(kind)
    load_adapter(other, tmp_path / "both.safetensors")
    assert torch.equal(output(other), after)


@pytest.mark.parametrize(("method", "first", "second", "size"), LINEAR)
def test_one_alone_is_itself_biases_included(
    method: str, first: dict[str, Any], second: dict[str, Any], size: int
) -> None:
    model = two("t5", method, first, second)
    for name, weights in (("a", [1.0, 0.0]), ("b", [0.0, 1.0])):
        surgery.activate(model, name)
        expected = output(model)
        combine(model, ["a", "b"], weights, into=f"only_{name}")
        assert (output(model) - expected).abs().max() <= 1e-5 * expected.abs().max()


def _norms_are_the_sum(model: Any, weights: list[float]) -> None:
    adapters, originals = model.krona.adapters, model.krona.originals
    assert adapters["both"].trained
    for key, p in adapters["both"].trained.items():
        changes = (w * (adapters[name].trained[key] - originals[key]) for name, w in zip("ab", weights, strict=True))
        assert torch.allclose(p, originals[key] + sum(changes), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize("rank", [1, 3])
def test_a_lower_rank_is_the_nearest(rank: int, kind: str) -> None:
    model = two(kind, "lora", {"rank": 3}, {"rank": 4})
    dense = summed(model, WEIGHTS)
    combined = combine(model, ["a", "b"], WEIGHTS, into="both", rank=rank)
    _is_the_oracles(model, combined, {place: (M, M) for place, M in dense.items()}, rank)


@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize("terms", [1, 2])
def test_fewer_terms_are_the_nearest_by_the_rearranged_svd(terms: int, kind: str) -> None:
    model = two(kind, "krona", {"kron_factors": [[8, 4]], "terms": 2}, {"kron_factors": [[8, 4]], "scaling": 2.0})
    dense = summed(model, WEIGHTS)
    combined = combine(model, ["a", "b"], WEIGHTS, into="both", terms=terms)
    _is_the_oracles(model, combined, {place: (M, rearranged(M, 4, 8)) for place, M in dense.items()}, terms)


def rearranged(M: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Blocks of ``A ⊗ B`` with A (rows, columns) as rows of a matrix, which is of rank 1 for one product."""
    height, width = M.shape[0] // rows, M.shape[1] // columns
    blocks = [
        M[i * height : (i + 1) * height, j * width : (j + 1) * width] for i in range(rows) for j in range(columns)
    ]
    return np.stack([block.ravel() for block in blocks])


def _is_the_oracles(model: Any, combined: Any, dense: dict[str, Any], size: int) -> None:
    """``dense``: the sum, and its form whose singular values count."""
    got, left, whole = updates(model, "both"), 0.0, 0.0
    assert combined.size == size
    for place, (M, form) in dense.items():
        s = np.linalg.svd(form, compute_uv=False)
        oracle = np.sqrt((s[size:] ** 2).sum() / (s**2).sum())
        assert combined.errors[place] == pytest.approx(oracle, rel=1e-6)
        assert np.linalg.norm(got[place] - M) / np.linalg.norm(M) == pytest.approx(oracle, rel=1e-5)
        assert oracle > 1e-2
        left, whole = left + (s[size:] ** 2).sum(), whole + (s**2).sum()
    assert combined.error == pytest.approx(np.sqrt(left / whole), rel=1e-6)


def test_what_one_product_can_hold_is_held_by_one() -> None:
    model = two("t5", "krona", {"kron_factors": [[8, 4]]}, {"kron_factors": [[8, 4]]})
    first, second = (at for _, at in zip(range(2), (at for _, at in surgery.adapted_modules(model)), strict=False))
    for at in (first, second):
        with torch.no_grad():
            at.branches["b"][0].A.copy_(at.branches["a"][0].A)  # A ⊗ B₁ + A ⊗ B₂ = A ⊗ (B₁ + B₂)
    combined = combine(model, ["a", "b"], WEIGHTS, into="both", terms=1)
    errors = list(combined.errors.values())
    assert max(errors[:2]) < 1e-7
    assert min(errors[2:]) > 1e-2


@pytest.mark.parametrize("kind", ["t5", "bert", "llama"])
def test_ia3_and_biases_and_norms_and_a_head_are_means(kind: str) -> None:
    weights = [0.25, 0.75]
    for method in ("ia3", "bitfit", "layer_norm", "full"):
        model = two(kind, method, {}, {})
        states = [surgery.adapter_state(model, name) for name in "ab"]
        combine(model, ["a", "b"], weights, into="both")
        for key, p in surgery.adapter_state(model, "both").items():
            assert torch.allclose(p, 0.25 * states[0][key] + 0.75 * states[1][key], atol=1e-6, rtol=0)
    model = two(kind, "ia3", {}, {})
    states = [surgery.adapter_state(model, name) for name in "ab"]
    combine(model, ["a", "b"], [1.0, 1.0], into="both")
    key = next(key for key in states[0] if key.endswith("scale"))
    both = surgery.adapter_state(model, "both")[key]
    assert torch.allclose(both, states[0][key] + states[1][key] - 1, atol=1e-6, rtol=0)


REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    "pa": ("pa", {}, {}, {}, "ParallelAdapter is not linear in its input"),
    "adapter": ("adapter", {}, {}, {}, "Adapter is not linear"),
    "monarch": ("monarch", {}, {}, {}, "Monarch has no sum of its form here"),
    "compacter": ("compacter", {"bottleneck_dim": 8}, {"bottleneck_dim": 8}, {}, "Compacter is not linear"),
    "dora": ("dora", {}, {}, {}, "DoRA's magnitude"),
    "shapes": ("krona", {"kron_factors": [[8, 4]]}, {"kron_factors": [[4, 8]]}, {}, r"A is \(8, 4\) at .* \(4, 8\) at"),
    "between": ("krona_b", {"non_linearity": "relu"}, {}, {}, "has a non-linearity between its products"),
    "inner bias": ("krona_b", {"bias": 2}, {}, {}, "has a bias between its products"),
    "rank": ("krona", {}, {}, {"rank": 2}, "rank=2 is for LoRA"),
    "terms": ("lora", {}, {}, {"terms": 2}, "terms=2 is for Kronecker products"),
    "no rank": ("lora", {}, {}, {"rank": 0}, "rank=0"),
    "after": ("lora", {"placement": "sequential"}, {"placement": "sequential"}, {}, "acts on an output or input"),
    "ways": ("lora", {"placement": "sequential", "rank": 1}, {}, {}, "act in different ways at .*: parallel, seq"),
    "one twice": ("lora", {}, {}, {"names": ["a", "a"]}, "different names"),
    "a weight too few": ("lora", {}, {}, {"weights": [1.0]}, "a weight for each"),
    "no number": ("lora", {}, {}, {"weights": [1.0, float("nan")]}, "weights=nan"),
    "unknown": ("lora", {}, {}, {"names": ["a", "c"]}, "no adapter named 'c'"),
    "a name in use": ("lora", {}, {}, {"into": "a"}, "in the model already"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_sum_is_refused(case: str) -> None:
    method, first, second, call, message = REFUSED[case]
    model = two("t5", method, first, second)
    refused(model, {"names": ["a", "b"], "weights": WEIGHTS, "into": "both", **call}, message)


def refused(model: Any, call: dict[str, Any], message: str) -> None:
    before, expected, active = snapshot(model), output(model), model.krona.active
    with pytest.raises(KronaError, match=message):
        combine(model, **call)
    assert same_bits(snapshot(model), before)
    assert torch.equal(output(model), expected)
    assert list(model.krona.adapters) == ["a", "b"]
    assert model.krona.active == active


def test_several_kinds_and_a_merged_adapter_are_refused() -> None:
    model: Any = tiny_t5()
    surgery.insert(model, LoRA, target_modules=["q"], name="a")
    surgery.insert(model, Kronecker, target_modules=["q"], kron_factors=[[8, 8]], name="b")
    call = {"names": ["a", "b"], "weights": WEIGHTS, "into": "both"}
    refused(model, call, "several kinds have no sum of one kind .'a': LoRA, 'b': Kronecker.")
    surgery.merge(model)
    refused(model, call, "'b' is merged into the weights")
