"""Observe or replace the activations at adapted modules, both with the branches and without them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from krona.surgery.state import adapted_modules, get_state
from krona.surgery.wrapper import public_name

Watch = Callable[[str, Tensor, Tensor], Tensor | None]


@contextmanager
def watch_activations(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Call ``watch`` whenever a forward pass inside the context reaches a module that the active adapter adapts.

    Args:
        watch: a function with three arguments: the module's name, the activation without the branches, and the
            activation with the branches. The activation is the module's output, or its input if the branches act before
            the module. If ``watch`` returns a tensor, the model continues with this tensor.
    """
    active = str(get_state(model).active)
    places = [(path, adapted) for path, adapted in adapted_modules(model) if active in adapted.branches]
    for path, adapted in places:
        adapted.watch = partial(watch, public_name(path))
    try:
        yield
    finally:
        for _, adapted in places:
            adapted.watch = None
