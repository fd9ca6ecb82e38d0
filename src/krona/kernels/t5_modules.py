"""Faster modules of T5 and Llama: the root-mean-square norm, and dropout on a CPU.

- Norm: in fp32 with gradients, the output equals the library's to the bit and the gradients to rounding. PyTorch takes
  a dozen passes over the activations, this form five, including the gradient of the weight. In all other cases the
  library's forward runs.
- Dropout on a CPU: each number takes one 16-bit lane of torch's 64-bit random words; the library draws at least 64 bits
  for each, in one thread. The same seed gives other masks, and the probability is exact to 2⁻¹⁶.

`use_fast_modules` changes the classes of a model's modules and `restore_modules` undoes it. No weight, name or file
changes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from krona.kernels.gradients import under_functorch

# classes of transformers with the same fp32 result and the same names of weight and epsilon
ROOT_MEAN_SQUARE = frozenset(
    {"T5LayerNorm", "MT5LayerNorm", "LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}
)
ROWS = 8  # rows of a block in `weighted_sum`: small enough that the rounding error is not above the library's


def use_fast_modules(model: nn.Module) -> None:
    """Replace the classes of root-mean-square norms and dropouts; a second call changes nothing."""
    for module in model.modules():
        if type(module).__name__ in ROOT_MEAN_SQUARE and type(module).__module__.startswith("transformers."):
            module.__dict__["library_class"] = type(module)
            module.__class__ = RootMeanSquareNorm
        elif type(module) is nn.Dropout:
            module.__class__ = LaneDropout


def restore_modules(model: nn.Module) -> None:
    """Undo `use_fast_modules`."""
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
    """``y = w ⊙ x · r`` with ``r = 1/√(mean(x²) + ε)``, x (..., d), w (d).

    Gradients: ``gx = r (g ⊙ w) − x r³ (g ⊙ x · w) / d`` and ``gw = Σₙ rₙ (g ⊙ x)ₙ``.
    """

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
        t = g * x  # (N, d); both gradients are matrix-vector products with t
        gw = weighted_sum(r, t) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, gw, None
        along = (t @ w) * (r * r) * (-1 / d)  # (N,): the multiple of x to subtract
        gx = torch.mul(x, along[:, None], out=t).addcmul_(g, w).mul_(r[:, None])
        return gx.view(shape), gw, None


def weighted_sum(r: Tensor, t: Tensor) -> Tensor:
    """Return ``Σₙ rₙ tₙ``, (d,), of r (N,) and t (N, d), as a pairwise sum over blocks of rows.

    One matrix-vector product would add row after row, with ten times the rounding error at 6,400 rows.
    """
    whole = len(t) // ROWS * ROWS
    if whole <= ROWS:
        return r @ t
    total = torch.bmm(r[:whole].view(-1, 1, ROWS), t[:whole].view(-1, ROWS, t.shape[1])).sum((0, 1))
    return total if whole == len(t) else total + r[whole:] @ t[whole:]


class LaneDropout(nn.Dropout):
    """Dropout with a mask of 16 random bits per number on a CPU; torch's own on other devices and in place."""

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
    """Return a mask like x: 0 with probability p (rounded to a multiple of 2⁻¹⁶), else 1/(1-p)."""
    dropped = min(max(round(p * 2**16), 1), 2**16 - 1)  # of the 65,536 values of a lane
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    lanes = words.view(torch.int16)[: x.numel()].view(x.shape)
    mask = torch.empty_like(x, memory_format=torch.contiguous_format)
    return torch.ge(lanes, dropped - 2**15, out=mask).mul_(2**16 / (2**16 - dropped))
