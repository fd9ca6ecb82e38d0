"""Test scaled updates: the factor 0 gives the bare backbone, and the model is restored afterwards."""

from typing import Any

import pytest
import torch

from krona import surgery
from krona.messages import KronaError
from krona.surgery.scaling import scale_update
from krona.surgery.state import get_state
from tiny_t5 import disturb, inserted, logits, same_bits, snapshot, tiny_t5


def moved(name: str, **changes: Any) -> Any:
    model = inserted(name, **changes)
    disturb(model)
    return model


@pytest.mark.parametrize("method", ["lora", "adapter", "full", "bitfit", "untuned"])
def test_zero_is_the_bare_backbone_and_one_the_model_as_it_is(method: str) -> None:
    model = moved(method)
    before, weights = logits(model), snapshot(model)
    for scale in (0.0, 0.25, 1.0):
        with scale_update(model, scale):
            found = logits(model)
        if scale == 0:
            torch.testing.assert_close(found, logits(tiny_t5()))
        if scale == 1:
            assert torch.equal(found, before)
        assert same_bits(snapshot(model), weights)
    assert torch.equal(logits(model), before)
    assert method == "untuned" or not torch.allclose(before, logits(tiny_t5()))


@pytest.mark.parametrize(("method", "last"), [("lora", ("B",)), ("adapter", ("up", "up_bias")), ("full", ())])
def test_a_part_of_the_update_is_a_part_of_what_trained(method: str, last: tuple[str, ...]) -> None:
    """With the factor 1/4, trained weights are a quarter of the way from their start values.

    This holds for the last layer of the branch and for the backbone's own weights.
    """
    model = moved(method)
    with scale_update(model, 0.25):
        found = logits(model)
    state = get_state(model)
    for _, adapted in surgery.adapted_modules(model):
        names = [name for name, _ in adapted.own_parameters("default") if name.rsplit(".", 1)[-1] in last]
        assert len(names) == len(last) * len(adapted.branches["default"])
        for name, parameter in adapted.own_parameters("default"):
            if name in names:
                parameter.data *= 0.25
    for name, parameter in state.adapters["default"].trained.items():
        parameter.data = state.originals[name].data + 0.25 * (parameter.data - state.originals[name].data)
    torch.testing.assert_close(found, logits(model), rtol=1e-4, atol=1e-4)


def test_an_adapter_without_its_originals_has_no_scale() -> None:
    model = tiny_t5()
    surgery.insert(model, train_backbone=True, reversible=False)
    with pytest.raises(KronaError, match="reversible=True"), scale_update(model, 0.0):
        pass
