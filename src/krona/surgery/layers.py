"""The layers of a backbone: recognise them, read their weights, and wrap them with branches.

The weight of a linear layer is stored as (d_out, d_in) or, in ``Conv1D`` of GPT-2, as (d_in, d_out). The weight may
be stored in 4 bits (``Linear4bit`` of bitsandbytes). A wrapper computes a module's output together with its branches.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from krona.kernels.t5_modules import drop
from krona.methods.branch import Branch
from krona.methods.magnitude import Magnitude
from krona.methods.placement import Position

WRAPPER_PARTS = ("base", "branches", "dora")  # the submodules of `Adapted`


def is_norm(module: nn.Module) -> bool:
    """Return whether a module is a normalisation layer, which means that its class name ends with Norm."""
    return type(module).__name__.endswith("Norm")


def is_conv1d(module: nn.Module) -> bool:
    """Return whether a module is the linear layer of GPT-2, whose weight is (d_in, d_out)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is a linear layer (``nn.Linear``, or ``Conv1D`` of GPT-2)."""
    return isinstance(module, nn.Linear) or is_conv1d(module)


def has_hooks(module: nn.Module) -> bool:
    """Return whether calling a module runs more than the ``forward`` of its class: hooks, or a replaced ``forward``."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return bool(hooks) or "forward" in module.__dict__


def is_quantised(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Return whether the weight of a layer is stored in 4 bits."""
    return getattr(layer._parameters.get("weight"), "quant_state", None) is not None


def original_shape(weight: Tensor) -> torch.Size:
    """Return the shape of a weight. For a 4-bit weight, return the shape before quantisation."""
    state = getattr(weight, "quant_state", None)
    return weight.shape if state is None else torch.Size(state.shape)


def dequantised_layer(layer: nn.Linear, weight: Tensor | None = None) -> nn.Linear:
    """Return an ``nn.Linear`` with a quantised layer's bias. Its weight is ``weight`` or the dequantised weight."""
    plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta").train(layer.training)
    plain.weight = nn.Parameter(weight_matrix(layer) if weight is None else weight, requires_grad=False)
    plain.bias = layer.bias
    return plain


def weight_matrix(layer: nn.Module) -> Tensor:
    """Return the weight of a linear layer as (d_out, d_in). A 4-bit weight is dequantised."""
    weight = layer.get_parameter("weight")
    if (state := getattr(weight, "quant_state", None)) is not None:
        from bitsandbytes.functional import dequantize_4bit

        dequantised: Tensor = dequantize_4bit(weight.detach(), state)
        return dequantised
    return weight.T if is_conv1d(layer) else weight


@dataclass(frozen=True)
class BranchPlacement:
    """The placement of the branches at a module."""

    placement: Position
    inner_residual: bool  # whether the output of a sequential branch is added to the branch's input
    dropout: float = 0.0  # dropout probability of each branch's input, in training

    def widths(self, d_in: int, d_out: int) -> tuple[int, int]:
        """Return the input and output widths of a branch at a module with the widths d_in and d_out."""
        return (d_in if self.placement == "parallel" else d_out, d_out)


class Prompt(nn.Module):
    """A branch that adds positions to the input, and not an update to a module: ``model.prompts``.

    Hooks on the model call the branch.
    """

    def __init__(self, branch: nn.Module, length: int, hooks: Sequence[RemovableHandle]) -> None:
        super().__init__()
        self.branches = branch
        self.length = length  # the number of positions
        self.hooks = hooks


class InputCapture:
    """A forward pre-hook that stores the input of a span of modules.

    The hook is registered on the first module of the span. The wrapper of the last module reads the stored input.
    """

    def __init__(self, first: nn.Module) -> None:
        self.first = first
        self.x: Tensor | None = None
        self.handle = first.register_forward_pre_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.x = inputs[0]

    def take(self) -> Tensor:
        """Return the stored input of the current forward pass, and delete the reference to it."""
        x, self.x = self.x, None
        assert x is not None, "the forward pass did not call the first module of the span"
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

    def __init__(
        self,
        base: nn.Module,
        branches: nn.ModuleList,
        placement: BranchPlacement,
        *,
        dora: Magnitude | None = None,
    ) -> None:
        super().__init__()
        self.training = base.training  # a model in eval mode stays in eval mode
        self.base = base
        self.branches = branches.train(base.training)
        self.dora = dora
        self.placement = placement
        self.capture: InputCapture | None = None  # of the span's input, if the branches act on a span of modules
        self.merged = False

    def __getattr__(self, name: str) -> Any:  # T5 reads wo.weight, SelfAttention.compute_bias, … through the wrapper
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return getattr(super().__getattr__("base"), name)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Set a parameter of the wrapped module. ``tie_weights`` uses this method to set a weight."""
        setattr(self.base, name, param)

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Any:
        if self.merged:
            return self.base(x, *args, **kwargs)
        if self._in_one_step():
            return self.own_branches()[0].beside(self.base, x)
        output = self.base(x, *args, **kwargs)
        x = self.capture.take() if self.capture else x
        if isinstance(output, tuple):
            return (self.update(output[0], x), *output[1:])
        return self.update(output, x)

    def update(self, y: Tensor, x: Tensor) -> Tensor:
        """Apply the branches to ``y``, the output of ``base``. ``x`` is the input of parallel branches."""
        dtype, branches = y.dtype, self.own_branches()
        if self.placement.placement != "parallel":
            for branch in branches:
                update = branch(self._drop(y))
                y = y + update if self.placement.inner_residual else update
            return y.to(dtype)  # under autocast, the branches' output may be in fp32
        x = self._drop(x)
        first, *others = branches
        hooked = any(map(has_hooks, branches))  # only a call of the branch runs its hooks
        y = Branch.add_to(first, y, x, *others) if hooked else first.add_to(y, x, *others)
        if self.dora is not None:
            y = self.dora(y, weight_matrix(self.base), branches, self.base.bias)
        return y.to(dtype)

    def _drop(self, x: Tensor) -> Tensor:
        """Return the input of a branch after dropout, which is active only in training."""
        p = self.placement.dropout
        return drop(x, p) if p and self.training else x

    def _in_one_step(self) -> bool:
        """Return whether ``branch.beside`` can compute the sum of the linear layer and the branch in one step."""
        base, branches = self.base, self.own_branches()
        return branches[0].computes_layer or (
            type(base) is nn.Linear
            and self.placement.placement == "parallel"
            and not (self.training and self.placement.dropout)
            and len(branches) == 1
            and self.dora is None
            and self.capture is None
            and not (has_hooks(base) or has_hooks(branches[0]))
        )

    def own_branches(self) -> "Sequence[Branch]":
        """Return the branches at this module."""
        return cast("Sequence[Branch]", self.branches)

    def own_modules(self) -> list[nn.Module]:
        """Return the modules of the adapter."""
        return [self.branches] if self.dora is None else [self.branches, self.dora]


def public_name(name: str) -> str:
    """Return a name without the names of the wrappers' parts.

    For example, ``q.base.weight`` becomes ``q.weight``, and ``q.branches.0.A`` becomes ``q.0.A``.
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPER_PARTS)


def is_in_adapter(name: str) -> bool:
    """Return whether a full name belongs to a module or parameter of the adapter."""
    return ".branches." in name or ".dora." in name


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
