"""Test updates, their spectra and their measures against plain matrix algebra."""

from typing import Any

import numpy as np
import pytest
import torch

from krona import surgery
from krona.adapters.update import Spectrum, measure_updates, spectrum
from krona.messages import KronaError
from tiny_t5 import batch, disturb, inserted, logits


def moved(name: str, **changes: Any) -> Any:
    model = inserted(name, **changes)
    disturb(model)
    return model


CASES: list[tuple[str, dict[str, Any]]] = [
    ("krona", {"kron_factors": [[16, 8]]}),
    ("krona", {"kron_factors": [[16, 8]], "terms": 2, "scaling": 3.0}),
    ("krona", {"modules_per_target": 2, "kron_factors": [[4, 8]], "bias": 2}),
    ("krona_b", {}),
    ("krona_b_res", {"residual": "sigmoid"}),
    ("lora", {"rank": 1}),
    ("lora", {"rank": 5, "scaling": 2.0}),
    ("lora", {"rank": 50}),
    ("lora", {"rank": 3, "placement": "sequential"}),
    ("lora", {"rank": 3, "placement": "before", "modules_per_target": 2}),
    ("dora", {"rank": 4}),
    ("lokr", {"rank": 2, "decompose_both": True}),
    ("monarch", {}),
]


@torch.no_grad()
def branches_map(at: Any) -> np.ndarray:
    """Return the update of a module in fp64, computed by applying the branches to an identity matrix."""
    way, (d_in, d_out) = at.placements["default"], surgery.widths(at.base)
    branches = at.branches["default"].double()
    x = torch.eye(d_out if way.placement == "sequential" else d_in, dtype=torch.float64)
    if way.placement == "parallel":
        return np.sum([(branch(x) - branch(torch.zeros_like(x[:1]))).numpy() for branch in branches], axis=0)
    h = x
    for branch in branches:
        h = h + branch(h) if way.inner_residual else branch(h)
    return (h - x).numpy()


@pytest.mark.parametrize(("method", "changes"), CASES)
def test_spectra_are_numpys(method: str, changes: dict[str, Any]) -> None:
    for _, at in surgery.adapted_modules(moved(method, **changes)):
        found, M = spectrum(at), branches_map(at)
        sigma = np.linalg.svd(M, compute_uv=False)
        rank = len(found.values)
        assert np.linalg.matrix_rank(M, tol=1e-10 * sigma[0]) <= rank <= min(M.shape)
        assert np.abs(found.values.numpy() - sigma[:rank]).max() <= 1e-6 * sigma[0]
        p = sigma / sigma.sum()
        p = p[p > 1e-14]
        assert found.norm == pytest.approx(np.linalg.norm(M), rel=1e-6)
        assert found.effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)
        assert found.stable_rank == pytest.approx((np.linalg.norm(M) / sigma[0]) ** 2, rel=1e-6)


def test_equal_single_and_no_singular_values_have_known_ranks() -> None:
    flat, single = Spectrum(torch.full((7,), 0.3).double()), Spectrum(torch.tensor([2.0, 0.0, 0.0]).double())
    assert (flat.effective_rank, flat.stable_rank) == (pytest.approx(7), pytest.approx(7))
    assert (single.effective_rank, single.stable_rank, single.norm) == (1, 1, 2)
    none = Spectrum(torch.zeros(3).double())
    assert (none.effective_rank, none.stable_rank, none.norm) == (None, None, 0)


@torch.no_grad()
def expected_drift(model: Any) -> dict[str, float]:
    """Return a dict from each module to its drift, from the real inputs and outputs of the module and its base."""
    seen: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}
    handles = [
        module.register_forward_hook(lambda module, args, output: seen.update({module: (args[0], output)}))
        for _, adapted in surgery.adapted_modules(model)
        for module in (adapted, adapted.base)
    ]
    logits(model)
    for handle in handles:
        handle.remove()
    found = {}
    for path, adapted in surgery.adapted_modules(model):
        inner, outer = seen[adapted.base], seen[adapted]
        before = adapted.placements["default"].placement == "before"
        plain, moved = (outer[0], inner[0]) if before else (inner[1], outer[1])
        change = (moved.double() - plain.double()).square().sum()
        found[surgery.public_name(path)] = float(change / plain.double().square().sum())
    return found


@pytest.mark.parametrize("method", ["lora", "krona"])
def test_drift_and_means(method: str) -> None:
    changes = {"kron_factors": [[8, 4], [8, 16]]} if method == "krona" else {}
    model = moved(method, **changes)
    found = measure_updates(model, lambda: model(**batch()))
    assert found is not None
    expected = expected_drift(model)
    assert found["by_place"].keys() == expected.keys()
    for place, drift in expected.items():
        assert found["by_place"][place]["drift"] == pytest.approx(drift, rel=2e-3)
    path, adapted = next(iter(surgery.adapted_modules(model)))
    one, measured = found["by_place"][surgery.public_name(path)], spectrum(adapted)
    for key in ("norm", "effective_rank", "stable_rank"):
        assert one[key] == pytest.approx(getattr(measured, key), rel=1e-3)
    every = found["by_place"].values()
    assert found["norm"] == pytest.approx(sum(one["norm"] ** 2 for one in every) ** 0.5, rel=1e-3)
    assert found["drift"] == pytest.approx(np.mean([one["drift"] for one in every]), rel=1e-3)
    assert found["places"] == len(every)


def test_branches_that_are_not_a_matrix_have_a_drift() -> None:
    model = moved("adapter")
    found = measure_updates(model, lambda: model(**batch()))
    assert found is not None
    assert found["drift"] > 0
    assert (found["norm"], found["effective_rank"], found["stable_rank"]) == (None, None, None)
    for method, changes in (("adapter", {}), ("krona_b", {"non_linearity": "relu"})):
        _, adapted = next(iter(surgery.adapted_modules(moved(method, **changes))))
        with pytest.raises(KronaError, match="not linear"):
            spectrum(adapted)


def test_a_tensor_with_nan_has_no_spectrum() -> None:
    _, adapted = next(iter(surgery.adapted_modules(moved("lora"))))
    next(adapted.branches.parameters()).data[0] = float("nan")
    with pytest.raises(KronaError, match="NaN or infinite"):
        spectrum(adapted)


def test_without_branches_nothing_is_measured() -> None:
    for name in ("untuned", "full"):
        model = inserted(name)
        assert measure_updates(model, lambda model=model: model(**batch())) is None
