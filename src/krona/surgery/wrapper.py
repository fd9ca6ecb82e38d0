"""Wrap a module of the backbone, and compute its output together with the branches of an adapter."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from krona.kernels.t5_modules import drop, under_functorch
from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.methods.placement import Position
from krona.surgery.layers import has_hooks, weight_matrix

WRAPPER_PARTS = ("base", "branches", "magnitudes")  # the submodules of `Adapted`


@dataclass(frozen=True)
class BranchPlacement:
    """The placement of an adapter's branches at a module."""

    placement: Position
    inner_residual: bool  # whether the output of a sequential branch is added to the branch's input
    dropout: float = 0.0  # dropout probability of each branch's input, in training

    def widths(self, d_in: int, d_out: int) -> tuple[int, int]:
        """Return the input and output widths of a branch at a module with the widths d_in and d_out."""
        return (d_in if self.placement == "parallel" else d_out, d_out)


class Prompts(nn.Module):
    """The prompts of a model's adapters: branches that add positions to the input, and not an update to a module.

    Hooks on the model call the prompt of the active adapter. A model with prompts has this module as ``model.prompts``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleDict()  # the prompts by the adapter's name
        self.hooks: dict[str, Sequence[RemovableHandle]] = {}
        self.active: str | None = None

    def own_parameters(self, adapter: str) -> Iterator[tuple[str, nn.Parameter]]:
        """Iterate over the names and the values of the parameters of an adapter's prompt."""
        if adapter in self.branches:
            yield from self.branches[adapter].named_parameters()

    def drop(self, adapter: str) -> None:
        """Remove the prompt of an adapter, if there is one."""
        if adapter in self.branches:
            del self.branches[adapter]
        for hook in self.hooks.pop(adapter, ()):
            hook.remove()


class InputCapture:
    """A forward pre-hook that stores the input of a span of modules.

    The hook is registered on the first module of the span. The wrapper of the last module reads the stored input.
    """

    def __init__(self, first: nn.Module, last: "Adapted", adapter: str) -> None:
        self.first, self.last, self.adapter = first, last, adapter
        self.x: Tensor | None = None
        self.handle = first.register_forward_pre_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.adapter == self.last.active:
            self.x = inputs[0]

    def take(self) -> Tensor:
        """Return the stored input of the current forward pass, and delete the reference to it."""
        x, self.x = self.x, None
        if x is None:
            raise RuntimeError(f"The forward pass of this model did not call {type(self.first).__name__}.")
        return x


class Adapted(nn.Module):
    """A module of the backbone with branches.

    - *parallel*: ``y = base(x) + Σ branch(x)``. A magnitude rescales the sum (DoRA).
    - *sequential*: ``y = base(x)``, then ``y = y + branch(y)`` for each branch.

    Without the inner residual, ``branch(y)`` replaces ``y + branch(y)``.
    ``base`` is the original module: a linear layer, a LayerNorm, an FFN or an attention block. An attention block may
    return a tuple whose first element is its output. If the branches act on a span of modules, ``base`` is the
    last layer of the span, and x is the input of the span.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.training = base.training  # a model in eval mode stays in eval mode
        self.branches = nn.ModuleDict()  # the branches by the adapter's name
        self.magnitudes = nn.ModuleDict()
        self.placements: dict[str, BranchPlacement] = {}
        self.captures: dict[str, InputCapture] = {}  # for adapters that act on a span of modules
        self.active: str | None = None
        self.merged = False  # whether the active adapter is merged into the base's weight
        # see `krona.surgery.branch_checks`
        self.was_called = self.weight_was_read = False

    def __getattr__(self, name: str) -> Any:  # T5 reads wo.weight, SelfAttention.compute_bias, … through the wrapper
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            if name == "weight" and not torch.compiler.is_compiling():
                self.weight_was_read = True
            return getattr(super().__getattr__("base"), name)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Set a parameter of the wrapped module. ``tie_weights`` uses this method to set a weight."""
        if self.merged:
            raise KronaError(f"An adapter is merged into this layer's {name}. Call surgery.unmerge(model) first.")
        setattr(self.base, name, param)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling() and not self.was_called:
            self.was_called = True
        name = self.active
        if name is None or name not in self.placements or self.merged:
            y = self.base(x, *args, **kwargs)
            return self._refuse_backward(y) if self.merged and torch.is_grad_enabled() else y
        if self._in_one_step(name):
            return self.own_branches(name)[0].beside(self.base, x)
        output = self.base(x, *args, **kwargs)
        x = self.captures[name].take() if name in self.captures else x
        if isinstance(output, tuple):
            return (self.update(name, output[0], x), *output[1:])
        return self.update(name, output, x)

    def update(self, name: str, y: Tensor, x: Tensor) -> Tensor:
        """Apply an adapter's branches to ``y``, the output of ``base``. ``x`` is the input of parallel branches."""
        return self._with_branches(name, y, x).to(y.dtype)  # under autocast, the branches' output may be in fp32

    def _with_branches(self, name: str, y: Tensor, x: Tensor) -> Tensor:
        branches = self.own_branches(name)
        placement = self.placements[name]
        if placement.placement != "parallel":
            for branch in branches:
                update = branch(self._drop(name, y))
                y = y + update if placement.inner_residual else update
            return y
        x = self._drop(name, x)
        first, *others = branches
        hooked = any(map(has_hooks, branches))  # only a call of the branch runs its hooks
        y = Branch.add_to(first, y, x, *others) if hooked else first.add_to(y, x, *others)
        if name in self.magnitudes:
            y = self.magnitudes[name](y, weight_matrix(self.base), branches, self.base.bias)
        return y

    def _drop(self, name: str, x: Tensor) -> Tensor:
        """Return the input of a branch after dropout, which is active only in training."""
        p = self.placements[name].dropout
        return drop(x, p) if p and self.training else x

    def _in_one_step(self, name: str) -> bool:
        """Return whether ``branch.beside`` can compute the sum of the linear layer and the branch in one step."""
        base, branches = self.base, self.own_branches(name)
        return branches[0].computes_layer or (
            type(base) is nn.Linear
            and self.placements[name].placement == "parallel"
            and not (self.training and self.placements[name].dropout)
            and len(branches) == 1
            and name not in self.magnitudes
            and name not in self.captures
            and not (has_hooks(base) or has_hooks(branches[0]))
        )

    def _refuse_backward(self, y: Tensor) -> Tensor:
        """Let a backward pass through a merged weight raise an error, because the branches would get no gradients."""
        name = str(self.active)
        if torch.compiler.is_compiling() or not any(p.requires_grad for _, p in self.own_parameters(name)):
            return y

        def refuse(gradient: Tensor) -> None:
            raise KronaError(
                f"Adapter {name!r} is merged into the weights, so its branches do not train. Call "
                "surgery.unmerge(model) before a backward pass, or model.requires_grad_(False) if only the gradient "
                "of the input is needed."
            )

        if not y.requires_grad and not under_functorch():
            y.requires_grad_()  # so that every backward pass calls the hook
        if y.requires_grad:
            y.register_hook(refuse)  # type: ignore[no-untyped-call]
        return y

    def own_branches(self, adapter: str) -> "Sequence[Branch]":
        """Return the branches of an adapter at this module."""
        return cast("Sequence[Branch]", self.branches[adapter])

    def own_parameters(self, adapter: str) -> Iterator[tuple[str, nn.Parameter]]:
        """Iterate over the public names and the values of an adapter's parameters at this module."""
        for modules in (self.branches, self.magnitudes):
            if adapter in modules:
                yield from modules[adapter].named_parameters()

    def drop(self, adapter: str) -> None:
        """Remove the branches of an adapter, if there are any."""
        if adapter in self.branches:
            del self.branches[adapter], self.placements[adapter]
        if adapter in self.captures:
            self.captures.pop(adapter).handle.remove()
        if adapter in self.magnitudes:
            del self.magnitudes[adapter]


def public_name(name: str) -> str:
    """Return a name without the names of the wrappers' parts.

    For example, ``q.base.weight`` becomes ``q.weight``, and ``q.branches.a.0.A`` becomes ``q.0.A``.
    """
    parts = name.split(".")
    within = WRAPPER_PARTS[1:]  # in a full name, an adapter's name follows one of these
    kept = [part for before, part in pairwise(["", *parts]) if part not in WRAPPER_PARTS and before not in within]
    return ".".join(kept)


def is_in_adapter(name: str) -> bool:
    """Return whether a full name belongs to a module or parameter inside a branch or a magnitude."""
    return ".branches." in name or ".magnitudes." in name


def unwrap(module: nn.Module) -> nn.Module:
    """Return the module of the backbone without its wrapper."""
    return module.base if isinstance(module, Adapted) else module


def all_names(model: nn.Module) -> dict[nn.Module, list[str]]:
    """Return all names of each module. A module has several names if a model assigns it to several attributes."""
    names: dict[nn.Module, list[str]] = defaultdict(list)
    for name, module in model.named_modules(remove_duplicate=False):
        names[module].append(name)
    return names


def replace(model: nn.Module, names: Sequence[str], module: nn.Module) -> None:
    """Replace the module that has these names in a model with another module."""
    for name in names:
        parent, _, attribute = name.rpartition(".")
        setattr(unwrap(model.get_submodule(parent)), attribute, module)
