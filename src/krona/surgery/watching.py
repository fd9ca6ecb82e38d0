"""A watch over an adapter's places: the value that passes each with its branches and the value without them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from krona.surgery.wrapper import Adapted, adapted_modules, public_name, state_of

Watch = Callable[[str, Tensor, Tensor], Tensor | None]  # of a place's name, the value without branches and with them


@contextmanager
def watched(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Call ``watch`` each time that the model passes a place of the active adapter; what it returns goes on instead.

    The values are the module's output, or its input where the branches stand before it.
    """
    active = str(state_of(model).active)
    handles: list[RemovableHandle] = []
    for path, adapted in adapted_modules(model):
        if active in adapted.branches:
            before = adapted.places[active].placement == "before"
            handles += (_at_input if before else _at_output)(public_name(path), adapted, watch)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _at_output(name: str, adapted: Adapted, watch: Watch) -> list[RemovableHandle]:
    plain: list[Tensor] = []

    def of_base(module: nn.Module, args: Any, output: Any) -> None:
        plain[:] = [output[0] if isinstance(output, tuple) else output]

    def of_place(module: nn.Module, args: Any, output: Any) -> Any:
        whole = isinstance(output, tuple)
        found = watch(name, plain.pop(), output[0] if whole else output)
        if found is None:
            return None
        return (found, *output[1:]) if whole else found

    return [adapted.base.register_forward_hook(of_base), adapted.register_forward_hook(of_place)]


def _at_input(name: str, adapted: Adapted, watch: Watch) -> list[RemovableHandle]:
    plain: list[Tensor] = []

    def of_place(module: nn.Module, args: Any) -> None:
        plain[:] = [args[0]]

    def of_base(module: nn.Module, args: Any) -> Any:
        found = watch(name, plain.pop(), args[0])
        return None if found is None else (found, *args[1:])

    return [adapted.register_forward_pre_hook(of_place), adapted.base.register_forward_pre_hook(of_base)]
