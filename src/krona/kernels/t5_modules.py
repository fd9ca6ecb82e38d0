"""Faster drop-in forms of the root-mean-square norm of T5 and Llama, and of dropout on a CPU.

- Norm: where all is in fp32 and gradients are needed, the output is the library's to the bit and the gradients are
  its own to rounding. Autograd takes a dozen passes over the activations, this form takes five, including the weight's
  gradient. In all other cases the library's own forward runs.
- Dropout on a CPU: each number takes one 16-bit lane of torch's 64-bit random words, where the library draws 64 bits or
  more for each in one thread. The same seed gives other masks, and the probability is exact to 2⁻¹⁶.

`use_fast_modules` changes the classes of a model's modules, `restore_modules` undoes it. No weight, name or file
changes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from krona.kernels.gradients import under_functorch

# classes of transformers that compute the same in fp32, under the same names of weight and epsilon
ROOT_MEAN_SQUARE = frozenset(
    {"T5LayerNorm", "MT5LayerNorm", "LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}
)
ROWS = 8  # of a block in the sum of the weight's gradient: its rounding is then no more than the library's


def use_fast_modules(model: nn.Module) -> None:
    """Give root-mean-square norms and dropouts the faster form; a second call changes nothing."""
    for module in model.modules():
        if type(module).__name__ in ROOT_MEAN_SQUARE and type(module).__module__.startswith("transformers."):
            module.__dict__["library_class"] = type(module)
            module.__class__ = RootMeanSquareNorm
        elif type(module) is nn.Dropout:
            module.__class__ = LaneDropout


def restore_modules(model: nn.Module) -> None:
    """Give a model the library's own modules back."""
    for module in model.modules():
        if isinstance(module, RootMeanSquareNorm):
            module.__class__ = module.__dict__.pop("library_class")
        elif isinstance(module, LaneDropout):
            module.__class__ = nn.Dropout  # type: ignore[assignment]


class RootMeanSquareNorm(nn.Module):
    """``w ⊙ x / √(mean(x²) + ε)``, without a mean to subtract and without a bias."""

    weight: Tensor
    variance_epsilon: float
    library_class: type[nn.Module]

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        if (
            torch.is_grad_enabled()
            and (x.requires_grad or w.requires_grad)
            and x.dtype == w.dtype == torch.float32
            and not torch.compiler.is_compiling()
            and not under_functorch()
        ):
            y: Tensor = NormStep.apply(x, w, self.variance_epsilon)  # type: ignore[no-untyped-call]
            return y
        return self.library_class.forward(self, x)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.variance_epsilon}"


class NormStep(torch.autograd.Function):
    """The norm with ``r = 1/√(mean(x²) + ε)`` kept: gx = r (g ⊙ w) − x r³ (g ⊙ x · w) / d and gw = Σₙ rₙ (g ⊙ x)ₙ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, epsilon: float) -> Tensor:
        r = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, w, r)
        return w * (x * r)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w, r = ctx.saved_tensors
        shape, d = x.shape, x.shape[-1]
        x, g, r = x.reshape(-1, d), g.reshape(-1, d), r.reshape(-1)
        t = g * x  # (N, d): both gradients are matrix-vector products of it
        gw = weighted_sum(r, t) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, gw, None
        along = (t @ w) * (r * r) * (-1 / d)  # (N): how much of x to subtract
        gx = torch.mul(x, along[:, None], out=t).addcmul_(g, w).mul_(r[:, None])
        return gx.view(shape), gw, None


def weighted_sum(r: Tensor, t: Tensor) -> Tensor:
    """``Σₙ rₙ tₙ`` of (N), (N, d): (d), in blocks of rows whose sums are added pairwise.

    One matrix-vector product would add row after row, with ten times autograd's rounding at 6,400 rows.
    """
    whole = len(t) // ROWS * ROWS
    if whole <= ROWS:
        return r @ t
    total = torch.bmm(r[:whole].view(-1, 1, ROWS), t[:whole].view(-1, ROWS, t.shape[1])).sum((0, 1))
    return total if whole == len(t) else total + r[whole:] @ t[whole:]


class LaneDropout(nn.Dropout):
    """Dropout whose mask takes 16 bits a number; elsewhere than on a CPU, and in place, torch's own."""

    def forward(self, x: Tensor) -> Tensor:
        if (
            not self.training
            or not 0 < self.p < 1
            or self.inplace
            or x.device.type != "cpu"
            or torch.compiler.is_compiling()
            or under_functorch()
        ):
            return super().forward(x)
        return x * scaled_mask(x, self.p)


def scaled_mask(x: Tensor, p: float) -> Tensor:
    """0 with probability p, else 1/(1-p), of x's shape and dtype; p is rounded to a multiple of 2⁻¹⁶."""
    dropped = min(max(round(p * 2**16), 1), 2**16 - 1)  # of the 65,536 values of a lane
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    lanes = words.view(torch.int16)[: x.numel()].view(x.shape)
    return torch.ge(lanes, dropped - 2**15, out=torch.empty_like(x, memory_format=torch.contiguous_format)).mul_(
        2**16 / (2**16 - dropped)
    )
