"""Scale the update of an adapter temporarily. The scale 0 gives the bare backbone, and 1 gives the trained model."""

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
    """Multiply the update of the active adapter by ``scale`` inside the context. Afterwards the model is bit-identical.

    At each adapted module, the branches change the output, or the input if they are *before* the module. This change is
    multiplied by ``scale``. For a linear update, the weight is then ``W + scale · ΔW``. The backbone's own weights that
    train are interpolated between their original and their trained values.

    Raises:
        KronaError: no adapter is active, or the originals of its trained weights were not kept (``reversible=False``).
    """
    name, state = get_state(model).active, get_state(model)
    if name is None or get_adapter(model, name).irreversible:
        raise KronaError("Scaling an update needs an active adapter that was inserted with reversible=True.")
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
