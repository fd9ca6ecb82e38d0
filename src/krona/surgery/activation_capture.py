"""Capture activations at an adapter's places: each value with the branches and without them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from krona.surgery.wrapper import adapted_modules, public_name, state_of

Watch = Callable[[str, Tensor, Tensor], Tensor | None]


@contextmanager
def watched(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Call ``watch`` each time that a forward pass reaches a place of the active adapter.

    Args:
        watch: gets the name of the place, the value without branches and the value with them: the output of the module,
            or its input where the branches are before it. A tensor that it returns replaces the latter.
    """
    active = str(state_of(model).active)
    places = [(path, adapted) for path, adapted in adapted_modules(model) if active in adapted.branches]
    for path, adapted in places:
        adapted.watch = partial(watch, public_name(path))
    try:
        yield
    finally:
        for _, adapted in places:
            adapted.watch = None
