"""Faster forms for inference of branches that can't be merged: weights computed once, additions fused.

    inference.prepare(model)        # model.eval(), no gradients: the same outputs to 1e-5, fewer operations
    inference.release(model)

An extra for inference of your own and for bench.py; a run's scores come from the plain modules. The computed weights
are copies: when a weight, a scale or the active adapter changes, the next forward computes them again. (A write through
``.data`` moves no version counter: call `prepare` again after one.) In training, under autograd and under autocast the
plain modules run.

- PA beside a ReLU FFN: its bottleneck becomes more rows of wi and columns of wo, its output bias one more: no operation
  is added. The widened copies double the FFNs' memory.
- Kronecker modules beside an FFN: all of a place as one product with T terms, or as one d × d matrix where that is
  cheaper for rows and device; output bias and residual go into wo's addition.
- Adapter, Compacter and other bottlenecks: two products and the function between; the output bias is one more row of
  the up-projection, the residual the addition of the second product.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.inference_forms import step_for
from krona.surgery.wrapper import Adapted, adapted_modules

Slot = tuple[dict[str, Any], str]  # where a weight or a setting is held


def prepare(model: nn.Module) -> int:
    """Prepare the active adapter's places; returns how many have a faster form (the others run as they are)."""
    places = list(adapted_modules(model))
    if not places:
        raise KronaError("no adapter is in this model, so there is nothing to prepare: surgery.insert(model, …) first")
    for _, adapted in places:
        adapted.inference_form = InferenceForm()
    return sum(adapted.inference_form.refresh(adapted) is not None for _, adapted in places)


def release(model: nn.Module) -> None:
    """Back to the plain modules."""
    for _, adapted in adapted_modules(model):
        adapted.inference_form = None


class InferenceForm:
    """The faster form of one place, and what it was made from."""

    def __init__(self) -> None:
        self.step: Callable[..., Any] | None = None
        self.made_from: list[tuple[dict[str, Any], str, Any, int, int]] | None = None
        self.hooks: list[dict[int, Any]] = []  # of the place's modules: with a hook the plain modules run
        self.state: tuple[Any, ...] = ()

    def __reduce__(self) -> Any:  # a copy of the model, or one from a file, makes its own
        return InferenceForm, ()

    def refresh(self, adapted: Adapted) -> Callable[..., Any] | None:
        """The step for the place as it is now, made again if anything that it was made from has changed."""
        if self.made_from is None or self.state != self._state(adapted) or self._changed():
            self.step = step_for(adapted)
            self.made_from = [_with_version(*slot) for slot in _slots(adapted)]
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


def _with_version(holder: dict[str, Any], key: str) -> tuple[dict[str, Any], str, Any, int, int]:
    value = holder[key]
    if isinstance(value, Tensor):
        return holder, key, value, value._version, value.data_ptr()
    return holder, key, value, 0, 0
