"""C3A (Chen et al. 2025): the update consists of circulant blocks and is computed by circular convolution."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.arguments import check_divisor, check_float
from krona.methods.branch import Branch
from krona.methods.peft_layers import Converted, Layers, one_value


class C3A(Branch):
    """The update ``ΔW = s / d_in · C(w)``, as in peft. The matrix C(w) consists of circulant blocks of size b × b.

    The entries are ``C(w)[m·b + k, n·b + j] = w[m, n, (j - k) mod b]``. The kernels w have the shape (d_out / b, d_in /
    b, b). The kernels are initialised with zeros. Before training, the output therefore equals the backbone's. The
    number of parameters is d_in · d_out / b. The rank of the update is at most min(d_in, d_out).

    Args:
        block_size: the size b of a block, a divisor of both widths. None means half of the greatest common divisor of
            the widths. On a square layer, C3A then has as many parameters as LoRA of rank 1.
        scaling: the factor s. The authors of C3A use 1 and a larger learning rate.
    """

    peft_type = "C3A"

    def __init__(self, d_in: int, d_out: int, *, block_size: int | None = None, scaling: float = 1.0) -> None:
        super().__init__()
        common = math.gcd(d_in, d_out)
        if block_size is None and common % 2:
            raise KronaError(
                f"method.block_size=null needs an even greatest common divisor of {d_in} and {d_out}. Set "
                "method.block_size to a divisor of both."
            )
        b = common // 2 if block_size is None else check_divisor("block_size", block_size, d_in, d_out)
        self.scaling = check_float("scaling", scaling)
        self.kernels = nn.Parameter(torch.empty(d_out // b, d_in // b, b))
        self.update_rank = min(d_in, d_out)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.kernels)

    def forward(self, x: Tensor) -> Tensor:
        # torch.compile does not support complex numbers, and an FFT needs at least one row
        if torch.compiler.is_compiling() or not x.numel():
            return F.linear(x, self.delta().to(x.dtype))
        _, n, b = self.kernels.shape
        wide = torch.promote_types(x.dtype, torch.float32)  # torch has no FFT in bf16
        X = torch.fft.rfft(x.reshape(*x.shape[:-1], 1, n, b).to(wide))  # (..., 1, n, b // 2 + 1)
        # the conjugate, because `delta` computes a circular correlation instead of a convolution
        W = torch.fft.rfft(self._scaled_kernels().to(wide)).conj()  # (m, n, b // 2 + 1)
        y: Tensor = torch.fft.irfft((X * W).sum(-2), n=b)  # (..., m, b)
        return y.flatten(-2).to(x.dtype)  # (..., d_out)

    def delta(self) -> Tensor:
        m, n, b = self.kernels.shape
        i = torch.arange(b, device=self.kernels.device)
        blocks = self._scaled_kernels()[..., (i[None, :] - i[:, None]) % b]  # (m, n, b, b)
        return blocks.transpose(1, 2).reshape(m * b, n * b)  # (d_out, d_in)

    def _scaled_kernels(self) -> Tensor:
        _, n, b = self.kernels.shape
        return self.kernels * (self.scaling / (n * b))

    def to_peft(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"block_size": self.kernels.shape[2]}, {"c3a_kernel": self.scaling * self.kernels}

    @classmethod
    def from_peft(cls, layers: Layers, config: Mapping[str, Any]) -> Converted:
        shapes = {name: layer["c3a_kernel"].shape for name, layer in layers.items()}
        has_default_block_size = all(math.gcd(m * b, n * b) == 2 * b for m, n, b in shapes.values())
        sizes = {name: shape[2] for name, shape in shapes.items()}
        size = None if has_default_block_size else one_value("block sizes", sizes)
        return cls, {"block_size": size}, {name: {"kernels": layer["c3a_kernel"]} for name, layer in layers.items()}
