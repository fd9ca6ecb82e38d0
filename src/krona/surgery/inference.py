"""Branches that no weight can hold, at inference: their own weights made ready once, their additions folded away.

    preparing.prepare(model)        # model.eval(), no gradients: the same outputs to 1e-5, fewer operations
    preparing.release(model)

What is made ready is copied from the weights and noted with their version counters: when a weight, a scale or the
active adapter changes, the next forward makes it ready anew. (A write through ``.data`` into the same storage moves no
counter: call `prepare` again after one.) In training, under autograd and under autocast the plain modules run.

- PA beside a ReLU FFN: its bottleneck becomes more rows of wi and columns of wo, its output bias one more: no operation
  is added. The widened copies double the FFNs' memory.
- Kronecker modules beside an FFN: all of a place as one product with T terms, or as one d × d matrix where that is
  cheaper for rows and device; output bias and residual go into wo's addition.
- Adapter, Compacter and other bottlenecks: two products and the function between; the output bias is one more row of
  the up-projection, the residual the addition of the second product.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.inference_forms import step_for
from krona.surgery.wrapper import Adapted, adapted_modules

Slot = tuple[dict[str, Any], str]  # where a weight or a setting is held


def prepare(model: nn.Module) -> int:
    """Prepare the active adapter's places; returns how many have a form of their own (the rest runs as it is)."""
    places = list(adapted_modules(model))
    if not places:
        raise KronaError(
            "no adapter is in this model: there is nothing to prepare; surgery.insert(model, …) puts one in"
        )
    for _, adapted in places:
        adapted.prepared = Prepared()
    return sum(adapted.prepared.refresh(adapted) is not None for _, adapted in places)


def release(model: nn.Module) -> None:
    """The plain modules again."""
    for _, adapted in adapted_modules(model):
        adapted.prepared = None


@contextmanager
def prepared(model: nn.Module) -> Iterator[None]:
    """`prepare` for the length of a block; a model without branches runs as it is."""
    if any(True for _ in adapted_modules(model)):
        prepare(model)
    try:
        yield
    finally:
        release(model)


class Prepared:
    """The prepared form of one place, and what it was made from."""

    def __init__(self) -> None:
        self.step: Callable[..., Any] | None = None
        self.made_from: list[tuple[dict[str, Any], str, Any, int, int]] | None = None
        self.hooks: list[dict[int, Any]] = []  # of the place's modules: with one, they run themselves
        self.state: tuple[Any, ...] = ()

    def __reduce__(self) -> Any:  # a copy of the model, or one from a file, makes its own
        return Prepared, ()

    def refresh(self, adapted: Adapted) -> Callable[..., Any] | None:
        """The step for the place as it is now, made anew if anything that it was made from has changed."""
        if self.made_from is None or self.state != self._state(adapted) or self._changed():
            self.step = step_for(adapted)
            self.made_from = [_noted(*slot) for slot in _slots(adapted)]
            modules = list(adapted.modules())
            self.hooks = [hooks for m in modules for hooks in (m._forward_hooks, m._forward_pre_hooks)]
            self.state = self._state(adapted)
        return self.step

    def _state(self, adapted: Adapted) -> tuple[Any, ...]:
        return adapted.active, adapted.merged, any(self.hooks)

    def _changed(self) -> bool:
        assert self.made_from is not None
        for holder, key, value, version, pointer in self.made_from:
            now = holder.get(key)
            if now is not value and (isinstance(value, Tensor) or now != value):
                return True
            if isinstance(value, Tensor) and (now._version != version or now.data_ptr() != pointer):
                return True
        return False


def _slots(adapted: Adapted) -> Iterator[Slot]:
    """The place's base, its weights, the branches' weights and their plain settings."""
    yield from ((adapted.base._modules, key) for key in adapted.base._modules)
    for module in adapted.modules():
        if isinstance(module, nn.Linear) or module is adapted.base:
            yield from ((module._parameters, key) for key in module._parameters)
    if adapted.active is not None and adapted.active in adapted.places:
        for branch in adapted.branches[adapted.active].modules():
            yield from ((branch._parameters, key) for key in branch._parameters)
            yield from (
                (branch.__dict__, key) for key in ("scaling", "non_linearity", "residual") if key in branch.__dict__
            )


def _noted(holder: dict[str, Any], key: str) -> tuple[dict[str, Any], str, Any, int, int]:
    value = holder[key]
    if isinstance(value, Tensor):
        return holder, key, value, value._version, value.data_ptr()
    return holder, key, value, 0, 0
