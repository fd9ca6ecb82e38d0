"""Scale an adapter's update temporarily: 0 is the bare backbone, 1 the model as it was trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.activation_capture import watched
from krona.surgery.insertion import activate
from krona.surgery.wrapper import adapter_named, state_of


@contextmanager
def scaled(model: nn.Module, scale: float) -> Iterator[None]:
    """Multiply the active adapter's update by ``scale`` inside the context; afterwards the model is bit-identical.

    What the branches change in the output of a place (its input, for *before*) is multiplied: for a linear method this
    gives ``W + scale · ΔW``. Weights of the backbone that train (LayerNorms, all of full fine-tuning) are interpolated
    from their originals.

    Raises:
        KronaError: no adapter is active, or its insertion kept no originals (``reversible=False``).
    """
    name, state = state_of(model).active, state_of(model)
    if name is None or adapter_named(model, name).irreversible:
        raise KronaError("a scale needs an active adapter that was inserted with reversible=True")
    trained = adapter_named(model, name).trained
    kept: dict[str, Tensor] = {}
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
    try:
        with torch.no_grad():
            for key, weight in trained.items():
                kept[key] = weight.detach().clone()
                weight.copy_(torch.lerp(state.originals[key].to(weight.dtype), weight, scale))
        with watched(model, lambda _, plain, whole: torch.lerp(plain.to(whole.dtype), whole, scale)):
            yield
    finally:
        with torch.no_grad():
            for key, as_it_was in kept.items():
                trained[key].copy_(as_it_was)
