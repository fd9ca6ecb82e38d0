"""Scale an adapter's update temporarily: 0 is the bare backbone, 1 the model as it was trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.activation_capture import watch_activations
from krona.surgery.insertion import activate
from krona.surgery.state import get_adapter, get_state


@contextmanager
def scale_update(model: nn.Module, scale: float) -> Iterator[None]:
    """Multiply the active adapter's update by ``scale`` inside the context. Afterwards the model is bit-identical.

    The change that the branches make to the output of a place (its input, for *before*) is multiplied: for a linear
    method this gives ``W + scale · ΔW``. Weights of the backbone that train are interpolated from their originals.

    Raises:
        KronaError: no adapter is active, or its insertion kept no originals (``reversible=False``).
    """
    name, state = get_state(model).active, get_state(model)
    if name is None or get_adapter(model, name).irreversible:
        raise KronaError("A scale needs an active adapter that was inserted with reversible=True.")
    trained = get_adapter(model, name).trained
    if scale == 0:
        activate(model, None)
        try:
            yield
        finally:
            activate(model, name)
        return
    if scale == 1:
        yield
        return
    saved: dict[str, Tensor] = {}
    try:
        with torch.no_grad():
            for key, weight in trained.items():
                saved[key] = weight.detach().clone()
                weight.copy_(torch.lerp(state.originals[key].to(weight.dtype), weight, scale))
        with watch_activations(model, lambda _, plain, whole: torch.lerp(plain.to(whole.dtype), whole, scale)):
            yield
    finally:
        with torch.no_grad():
            for key, value in saved.items():
                trained[key].copy_(value)
