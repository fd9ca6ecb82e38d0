"""Observe or replace activations at an adapter's places, with the branches and without them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from krona.surgery.state import adapted_modules, get_state
from krona.surgery.wrapper import public_name

Watch = Callable[[str, Tensor, Tensor], Tensor | None]


@contextmanager
def watch_activations(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Call ``watch`` whenever a forward pass reaches a place of the active adapter.

    Args:
        watch: its arguments are the name of the place, the value without branches and the value with them. The value is
            the module's output, or its input for branches before the module. If ``watch`` returns a tensor, it replaces
            the value with branches.
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
