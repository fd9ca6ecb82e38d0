"""Test the dropout of a branch's input (``method.dropout``). The reference is the equation of each placement."""

from typing import Any

import pytest
import torch
from torch import Tensor

from krona import surgery
from krona.kernels.t5_modules import drop
from krona.surgery.state import adapted_modules
from tiny_t5 import batch, close, disturb, inserted, logits, tiny_t5, without_dropout

P = 0.25


def first_place(model: Any) -> Any:
    """Return the wrapper of the first module with branches that is called alone, not within a part of the model."""
    return next(adapted for _, adapted in adapted_modules(model) if not adapted.capture)


def gradients(model: Any) -> Tensor:
    model.train()
    torch.manual_seed(0)
    model(**batch()).loss.backward()
    found = [p.grad.flatten() for p in model.parameters() if p.requires_grad and p.grad is not None]
    model.zero_grad()
    return torch.cat(found)


@pytest.mark.parametrize("method", ["lora", "krona", "monarch", "dora", "adapter"])
def test_only_the_input_of_the_branch_is_dropped(method: str) -> None:
    adapted = first_place(inserted(method, without_dropout(tiny_t5().double()), dropout=P).train())
    disturb(adapted)
    (branch,), base = adapted.branches, adapted.base
    x = torch.randn(3, 7, next(base.parameters()).shape[-1]).double()
    torch.manual_seed(5)
    out = adapted(x)
    out = out[0] if isinstance(out, tuple) else out
    torch.manual_seed(5)
    h = base(x)
    h = h[0] if isinstance(h, tuple) else h
    place = adapted.placement
    if place.placement == "parallel":
        expected = h + branch(drop(x, P))
        if adapted.dora is not None:
            expected = adapted.dora(expected, base.weight, [branch])
    else:
        expected = branch(drop(h, P)) + (h if place.inner_residual else 0)
    assert close(out, expected)


def test_parallel_branches_of_a_block_share_a_mask() -> None:
    model = inserted("krona_b", without_dropout(tiny_t5().double()), dropout=P).train()
    _, adapted = next(adapted_modules(model))
    disturb(adapted)
    x, y = torch.randn(2, 3, 7, 64).double()
    torch.manual_seed(5)
    out = adapted.update(y, x)
    torch.manual_seed(5)
    dropped = drop(x, P)
    branches: Any = adapted.branches
    assert close(out, y + sum(branch(dropped) for branch in branches))


def test_evaluation_and_merging_are_those_without_dropout() -> None:
    plain, dropping = (inserted("lora", tiny_t5().double(), dropout=p) for p in (0.0, P))
    for model in (plain, dropping):
        disturb(model)
    assert close(logits(dropping), logits(plain))
    surgery.merge(plain)
    surgery.merge(dropping)
    assert close(logits(dropping), logits(plain))


def test_gradient_checkpointing_draws_the_same_masks() -> None:
    model, without = (inserted("lora", tiny_t5().double(), dropout=p) for p in (P, 0.0))
    for one in (model, without):
        disturb(one)
    whole = gradients(model)
    model.activation_checkpointing_enable({"use_reentrant": False})
    assert close(gradients(model), whole)
    assert not close(gradients(without), whole)
