"""The wrapper of a backbone's module with branches at it, and the state of a model with adapters in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.magnitude import Magnitude
from krona.surgery.layers import matrix_of
from krona.surgery.merged_backward import without_backward

Placement = Literal["parallel", "sequential", "before"]
WRAPPER_PARTS = ("base", "branches", "magnitudes")  # of `Adapted`
Slot = tuple[nn.Module, str]  # a module and its attribute that holds a weight


@dataclass(frozen=True)
class Place:
    placement: Placement
    inner_residual: bool


class Entrance:
    """The beginning of a part of the model whose end carries branches: hands the part's input on to them.

    A hook of the first module of the part, and none of the part's modules: a copy of the model has its own.
    """

    def __init__(self, first: nn.Module, last: "Adapted", adapter: str) -> None:
        self.first, self.last, self.adapter = first, last, adapter
        self.x: Tensor | None = None
        first.register_forward_pre_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.last.active == self.adapter:
            self.x = inputs[0]

    def take(self) -> Tensor:
        """The input of this forward, which is then let go."""
        x, self.x = self.x, None
        if x is None:
            raise RuntimeError(f"the forward of this model went past {type(self.first).__name__}, where a part begins")
        return x

    def remove(self) -> None:
        hooks = self.first._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if hook is self]:
            del hooks[key]


@dataclass
class Insertion:
    """One inserted adapter: its arguments, and which of the backbone's own weights train with it."""

    branch: Callable[..., nn.Module] | None
    branch_config: dict[str, Any]
    insertion: dict[str, Any]  # the other arguments of `surgery.insert`
    reversible: bool = True  # the originals of the backbone's weights that train are kept
    trained: dict[str, nn.Parameter] = field(default_factory=dict)  # the backbone's weights that train, by name

    @property
    def irreversible(self) -> bool:
        """Whether it trains the backbone's own weights and no copy of them is kept."""
        return bool(self.trained) and not self.reversible


@dataclass
class Inserted:
    """The state of a model with adapters in it."""

    adapters: dict[str, Insertion] = field(default_factory=dict)
    originals: dict[str, nn.Parameter] = field(default_factory=dict)  # of the weights that train, by name
    required_grad: dict[str, bool] = field(default_factory=dict)  # the flags before the first insertion
    active: str | None = None
    merged: str | None = None
    own_weights: dict[str, nn.Parameter] = field(default_factory=dict)  # of places with a merged weight
    slots: dict[str, list[Slot]] = field(default_factory=dict)  # where the weights that train were at insertion


class Adapted(nn.Module):
    """A module of the backbone with branches beside it, after it or before it.

    *parallel* ``y = base(x) + Σ branch(x)``; *sequential* ``y = base(x)``, then ``y = y + branch(y)``, one by one;
    *before* ``x = x + branch(x)``, one by one, then ``y = base(x)``. Without the inner residual the last two are
    ``branch(y)`` and ``branch(x)`` alone. A magnitude rescales the sum of a parallel placement (DoRA).
    The base may be a linear layer, a LayerNorm, an FFN or an attention block (of a tuple the first is the output); of a
    part of the model it is the last layer, and x is then the part's input.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.training = base.training  # a model in eval mode stays in it
        self.branches = nn.ModuleDict()  # adapter → its branches here
        self.magnitudes = nn.ModuleDict()  # adapter → its magnitude here, if any
        self.places: dict[str, Place] = {}
        self.entrances: dict[str, Entrance] = {}  # adapter → where its part of the model begins, if that is not here
        self.active: str | None = None
        self.inference_form: Any = None  # a `krona.surgery.inference.InferenceForm`
        self.merged = False  # the active adapter is in the base's weight

    def __getattr__(self, name: str) -> Any:  # T5 reads wo.weight, SelfAttention.compute_bias, … through the wrapper
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return getattr(super().__getattr__("base"), name)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """A weight that is assigned to the wrapper (``tie_weights``) is the base's."""
        if self.merged:
            raise KronaError(f"an adapter is merged into this layer's {name}: surgery.unmerge(model) before a new one")
        setattr(self.base, name, param)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        place = self.places.get(self.active) if self.active is not None else None
        if self.active is None or place is None or self.merged:
            y = self.base(x, *args, **kwargs)
            return without_backward(self, y) if self.merged and torch.is_grad_enabled() else y
        if self.inference_form is not None and self._at_inference(x):
            step = self.inference_form.refresh(self)
            if step is not None:
                return step(x, *args, **kwargs)
        branches: Any = self.branches[self.active]
        entrance = self.entrances.get(str(self.active))
        if place.placement == "before":
            return self.base(through(branches, x, place.inner_residual), *args, **kwargs)
        if entrance is None and self._in_one_step(place, branches):
            return branches[0].beside(self.base, x)
        output = self.base(x, *args, **kwargs)
        x = x if entrance is None else entrance.take()
        y = output[0] if isinstance(output, tuple) else output
        dtype = y.dtype
        if place.placement == "sequential":
            y = through(branches, y, place.inner_residual)
        else:
            first, *others = branches
            if hasattr(first, "add_to"):
                y = first.add_to(y, x, *others)
            else:
                for branch in branches:
                    y = y + branch(x)
            if self.active in self.magnitudes:
                delta = sum(branch.delta().detach() for branch in branches)
                y = self.magnitudes[self.active](y, matrix_of(self.base), delta, self.base.bias)
        y = y.to(dtype)  # under autocast a branch's last step may be in fp32
        return (y, *output[1:]) if isinstance(output, tuple) else y

    def _at_inference(self, x: Tensor) -> bool:
        return not (self.training or torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type))

    def _in_one_step(self, place: Place, branches: nn.ModuleList) -> bool:
        """Whether the branch and the linear layer beside it can be computed together (``beside``)."""
        base = self.base
        return (
            type(base) is nn.Linear
            and place.placement == "parallel"
            and len(branches) == 1
            and hasattr(branches[0], "beside")
            and str(self.active) not in self.magnitudes
            and not (base._forward_hooks or base._forward_pre_hooks or base._backward_hooks)
        )

    def own_parameters(self, adapter: str) -> Iterator[tuple[str, nn.Parameter]]:
        """What an adapter trains here, by public name within this place."""
        if adapter in self.branches:
            yield from self.branches[adapter].named_parameters()
        if adapter in self.magnitudes:
            yield from self.magnitudes[adapter].named_parameters()

    def put_in(
        self, adapter: str, branches: nn.ModuleList, place: Place, magnitude: Magnitude | None, entry: nn.Module | None
    ) -> None:
        self.branches[adapter] = branches.train(self.training)
        self.places[adapter] = place
        if entry is not None:
            self.entrances[adapter] = Entrance(entry, self, adapter)
        if magnitude is not None:
            self.magnitudes[adapter] = magnitude

    def drop(self, adapter: str) -> None:
        if adapter in self.branches:
            del self.branches[adapter], self.places[adapter]
        if adapter in self.entrances:
            self.entrances.pop(adapter).remove()
        if adapter in self.magnitudes:
            del self.magnitudes[adapter]


def through(branches: nn.ModuleList, h: Tensor, inner_residual: bool) -> Tensor:
    """``h`` through branches one by one."""
    dtype = h.dtype
    for branch in branches:
        h = h + branch(h) if inner_residual else branch(h)
    return h.to(dtype)


def adapted_modules(model: nn.Module) -> Iterator[tuple[str, Adapted]]:
    """The places that carry branches, by name, the outer before the inner."""
    for name, module in model.named_modules():
        if isinstance(module, Adapted):
            yield name, module


def public_name(name: str) -> str:
    """A parameter's name without the wrappers: ``q.base.weight`` is ``q.weight``, ``q.branches.a.0.A`` is ``q.0.A``."""
    parts = name.split(".")
    within = WRAPPER_PARTS[1:]  # an adapter's name follows
    kept = [part for before, part in pairwise(["", *parts]) if part not in WRAPPER_PARTS and before not in within]
    return ".".join(kept)


def of_an_adapter(name: str) -> bool:
    """Whether a module's or parameter's full name lies in a branch or a magnitude."""
    return ".branches." in name or ".magnitudes." in name


def base_of(module: nn.Module) -> nn.Module:
    """The backbone's module, without the wrapper."""
    return module.base if isinstance(module, Adapted) else module


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module at a name of the model."""
    parent, _, attribute = name.rpartition(".")
    setattr(base_of(model.get_submodule(parent)), attribute, module)


def state_of(model: nn.Module) -> Inserted:
    """The model's adapters; an error if there are none."""
    state = model.__dict__.get("krona")
    if state is None:
        raise KronaError("no adapter is in this model: surgery.insert(model, …) puts one in")
    assert isinstance(state, Inserted)
    return state


def adapter_named(model: nn.Module, name: str) -> Insertion:
    """One of the model's adapters; an error that lists them for another name."""
    adapters = state_of(model).adapters
    if name not in adapters:
        raise KronaError(f"no adapter named {name!r} is in the model; there are: {', '.join(map(repr, adapters))}")
    return adapters[name]
