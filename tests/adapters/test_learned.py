"""What an adapter learned: its numbers against plain algebra, and nothing about the model changes by looking."""

from typing import Any

import numpy as np
import pytest
import torch

from krona import surgery
from krona.adapters.learned import learned
from krona.surgery.activation_capture import watched
from tiny_t5 import batch, disturb, inserted, logits


def moved(name: str, **changes: Any) -> Any:
    model = inserted(name, **changes)
    disturb(model)
    return model


@torch.no_grad()
def expected_drift(model: Any) -> dict[str, float]:
    """By place, from the matrices of the branches and what the layers really get and give."""
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    handles = []
    for path, adapted in surgery.adapted_modules(model):
        place = surgery.public_name(path)

        def look(module: Any, args: Any, output: Any, place: str = place) -> None:
            seen.setdefault(place, (args[0].double(), output.double()))

        before = adapted.places["default"].placement == "before"
        handles.append((adapted if before else adapted.base).register_forward_hook(look))
    logits(model)
    for handle in handles:
        handle.remove()
    found = {}
    for path, adapted in surgery.adapted_modules(model):
        place, how = surgery.public_name(path), adapted.places["default"]
        D: Any = sum(branch.delta().double() for branch in adapted.branches["default"])
        x, y = seen[place]
        if how.placement == "parallel":
            change, plain = x @ D.T, y
        else:
            E = D if how.inner_residual else D - torch.eye(len(D), dtype=torch.float64)
            plain = x if how.placement == "before" else y
            change = plain @ E.T
        found[place] = float(change.square().sum() / plain.square().sum())
    return found


@pytest.mark.parametrize("method", ["lora", "ia3", "krona"])
def test_drift_and_spectra_are_those_of_the_branches_matrices(method: str) -> None:
    changes = {"kron_factors": [[8, 4], [8, 16]]} if method == "krona" else {}
    model = moved(method, **changes)
    found = learned(model, lambda: model(**batch()))
    assert found is not None
    assert found["by_place"].keys() == expected_drift(model).keys()
    for place, drift in expected_drift(model).items():
        assert found["by_place"][place]["drift"] == pytest.approx(drift, rel=2e-3)
    path, adapted = next(iter(surgery.adapted_modules(model)))
    (branch,) = adapted.branches["default"]
    D = branch.delta().detach().double().numpy() - (np.eye(len(branch.delta())) if method == "ia3" else 0)
    values = np.linalg.svd(D, compute_uv=False)
    p = values[values > 0] / values.sum()
    one = found["by_place"][surgery.public_name(path)]
    assert one["norm"] == pytest.approx(np.linalg.norm(D), rel=1e-3)
    assert one["effective_rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-3)
    assert one["stable_rank"] == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-3)
    every = found["by_place"].values()
    assert found["norm"] == pytest.approx(sum(one["norm"] ** 2 for one in every) ** 0.5, rel=1e-3)
    assert found["drift"] == pytest.approx(np.mean([one["drift"] for one in every]), rel=1e-3)
    assert found["places"] == len(every)


def test_branches_that_are_no_matrix_have_a_drift() -> None:
    model = moved("adapter")
    found = learned(model, lambda: model(**batch()))
    assert found is not None
    assert found["drift"] > 0
    assert (found["norm"], found["effective_rank"], found["stable_rank"]) == (None, None, None)


def test_branches_before_a_module_move_its_input() -> None:
    model = moved("lora", target_modules=["q"], placement="before")
    inputs: list[tuple[torch.Tensor, torch.Tensor]] = []
    with watched(model, lambda name, plain, whole: inputs.append((plain, whole))):
        logits(model)
    adapted = next(adapted for _, adapted in surgery.adapted_modules(model))
    x, whole = inputs[0]
    torch.testing.assert_close(whole, x + x @ adapted.branches["default"][0].delta().T)


def test_without_branches_nothing_is_measured() -> None:
    for name in ("untuned", "full"):
        model = inserted(name)
        assert learned(model, lambda model=model: model(**batch())) is None  # type: ignore[misc]


def test_looking_changes_nothing() -> None:
    model = moved("dora")
    before, state = logits(model), torch.get_rng_state()
    learned(model, lambda: model(**batch()))
    assert torch.equal(logits(model), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_a_watch_returns_goes_on() -> None:
    model = moved("lora")
    with watched(model, lambda name, plain, whole: plain):
        found = logits(model)
    for _, adapted in surgery.adapted_modules(model):
        for branch in adapted.branches["default"]:
            branch.B.data.zero_()
    torch.testing.assert_close(found, logits(model))
