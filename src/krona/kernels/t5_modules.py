"""Faster modules for T5 and Llama: the root-mean-square norm, and dropout on a CPU.

- The fast norm is used only in fp32 with gradients. In all other cases, the forward function of transformers runs. The
  output of the fast norm is bitwise equal to that of transformers, and the gradients are equal up to rounding. The fast
  norm needs five passes over the activations, including the gradient of the weight, and PyTorch about twelve passes.
- The dropout splits each random word of 64 bits into four numbers of 16 bits. PyTorch draws at least 64 bits for each
  number, in one thread. With the same seed, the masks differ from those of PyTorch. The probability is exact to 2⁻¹⁶.

`use_fast_modules` changes the classes of a model's modules, and `restore_modules` changes them back. The weights, their
names and saved files stay the same.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

# the transformers classes that compute this norm in fp32 and have the same attribute names for weight and epsilon
ROOT_MEAN_SQUARE = frozenset(
    {"T5LayerNorm", "MT5LayerNorm", "LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}
)
# the number of rows in a block of `weighted_sum`; larger blocks would cause a larger rounding error than transformers
ROWS = 8


def under_functorch() -> bool:
    """Return whether a transform of ``torch.func`` (``grad``, ``vmap``) is active.

    Such transforms do not support `NormStep`.
    """
    return bool(torch._C._are_functorch_transforms_active())


def use_fast_modules(model: nn.Module) -> None:
    """Change the classes of all root-mean-square norms and dropouts of a model. A second call has no effect."""
    for module in model.modules():
        if type(module).__name__ in ROOT_MEAN_SQUARE and type(module).__module__.startswith("transformers."):
            module.__dict__["library_class"] = type(module)
            module.__class__ = RootMeanSquareNorm
        elif type(module) is nn.Dropout:
            module.__class__ = LaneDropout


def restore_modules(model: nn.Module) -> None:
    """Change the classes of the modules back, after `use_fast_modules`."""
    for module in model.modules():
        if isinstance(module, RootMeanSquareNorm):
            module.__class__ = module.__dict__.pop("library_class")
        elif isinstance(module, LaneDropout):
            module.__class__ = nn.Dropout  # type: ignore[assignment]


class RootMeanSquareNorm(nn.Module):
    """The norm ``w ⊙ x / √(mean(x²) + ε)``, which does not subtract the mean and has no bias."""

    weight: Tensor
    variance_epsilon: float
    library_class: type[nn.Module]

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        if (
            torch.is_grad_enabled()
            and (x.requires_grad or w.requires_grad)
            and x.dtype == w.dtype == torch.float32
            and not x.is_meta
            and not torch.compiler.is_compiling()
            and not under_functorch()
        ):
            y: Tensor = NormStep.apply(x, w, self.variance_epsilon)  # type: ignore[no-untyped-call]
            return y
        return self.library_class.forward(self, x)  # type: ignore[no-any-return]


class NormStep(torch.autograd.Function):
    """The function ``y = w ⊙ x · r`` with ``r = 1/√(mean(x²) + ε)``, for x (..., d) and w (d), with explicit gradients.

    With the gradient g of y, the gradients are ``gx = r (g ⊙ w) − x r³ (g ⊙ x · w) / d`` and ``gw = Σₙ rₙ (g ⊙ x)ₙ``.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, w: Tensor, epsilon: float) -> Tensor:
        r = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, w, r)
        return w * (x * r)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, w, r = ctx.saved_tensors
        shape, d = x.shape, x.shape[-1]
        x, g, r = x.reshape(-1, d), g.reshape(-1, d), r.reshape(-1)
        t = g * x  # (N, d); both gradients are matrix-vector products with t
        with torch.autocast(g.device.type, enabled=False):  # autocast would use half precision
            gw = weighted_sum(r, t) if ctx.needs_input_grad[1] else None
            tw = t @ w if ctx.needs_input_grad[0] else None
        if tw is None:
            return None, gw, None
        along = tw * (r * r) * (-1 / d)  # (N,): the factor of x in gx / r
        gx = torch.mul(x, along[:, None], out=t).addcmul_(g, w).mul_(r[:, None])
        return gx.view(shape), gw, None


def weighted_sum(r: Tensor, t: Tensor) -> Tensor:
    """Return ``Σₙ rₙ tₙ``, (d,), for r (N,) and t (N, d), as a pairwise sum over blocks of rows.

    A single matrix-vector product would add the rows one after the other. For 6,400 rows, the rounding error would be
    ten times as large.
    """
    in_blocks = len(t) // ROWS * ROWS
    if in_blocks <= ROWS:
        return r @ t
    total = torch.bmm(r[:in_blocks].view(-1, 1, ROWS), t[:in_blocks].view(-1, ROWS, t.shape[1])).sum((0, 1))
    return total if in_blocks == len(t) else total + r[in_blocks:] @ t[in_blocks:]


class LaneDropout(nn.Dropout):
    """Dropout that draws 16 random bits for each number on a CPU.

    On other devices, or if ``inplace`` is true, PyTorch's own dropout is used.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1 or self.inplace:
            return super().forward(x)
        return drop(x, self.p)


def drop(x: Tensor, p: float) -> Tensor:
    """Return x after dropout with a probability 0 < p < 1, as `LaneDropout` computes it in training."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or under_functorch():
        return F.dropout(x, p)
    return x * scaled_mask(x, p)


def scaled_mask(x: Tensor, p: float) -> Tensor:
    """Return a mask with the shape of x. An entry is 0 with probability p, and otherwise 1/(1-p).

    The probability p is rounded to a multiple of 2⁻¹⁶.
    """
    dropped = min(max(round(p * 2**16), 1), 2**16 - 1)  # the number of random 16-bit values that give 0
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    lanes = words.view(torch.int16)[: x.numel()].view(x.shape)
    mask = torch.empty_like(x, memory_format=torch.contiguous_format)
    return torch.ge(lanes, dropped - 2**15, out=mask).mul_(2**16 / (2**16 - dropped))
