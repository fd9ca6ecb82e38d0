"""VeRA, vector-based random matrix adaptation (Kopiczko et al. 2024): frozen random factors and two trained vectors."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn

from krona.methods.arguments import check_float, check_int


class VeRA(nn.Module):
    """The update ``ΔW = diag(b) B diag(d) A`` (Eq. 2 of the VeRA paper), where A and B are frozen.

    The shapes are A (rank, d_in), B (d_out, rank), d (rank) and b (d_out). A and B are Kaiming-uniform (bound
    √(6 / fan-in), that is a = 0). d starts at ``d_initial`` and b at zero, so the output equals the backbone's at the
    start. The number of parameters is rank + d_out. The rank of the update is at most ``rank``.

    Args:
        rank: the rank of A and B.
        d_initial: the initial value of all numbers in d.
        seed: the random seed of A and B. Layers with equal widths share A and B. A and B are not counted as
            parameters and are not saved in an adapter's file.
    """

    A: Tensor
    B: Tensor

    def __init__(self, d_in: int, d_out: int, *, rank: int = 256, d_initial: float = 0.1, seed: int = 0) -> None:
        super().__init__()
        check_int("rank", rank, low=1)
        check_int("seed", seed, low=0)
        self.d_initial = check_float("d_initial", d_initial)
        self.sizes, self.seed = (d_in, d_out, rank), seed
        A, B = draw_factors(*self.sizes, seed)
        self.register_buffer("A", A, persistent=False)
        self.register_buffer("B", B, persistent=False)
        self.d = nn.Parameter(torch.empty(rank))
        self.b = nn.Parameter(torch.empty(d_out))
        self.update_rank = min(rank, d_in, d_out)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.d, self.d_initial)
        nn.init.zeros_(self.b)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        if self.A.is_meta and not self.d.is_meta:  # an adapter's file contains only d and b
            self.A, self.B = draw_factors(*self.sizes, self.seed)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.A.T * self.d) @ self.B.T * self.b  # (..., d_in) → (..., rank) → (..., d_out)

    def delta(self) -> Tensor:
        return self.b[:, None] * (self.B @ (self.d[:, None] * self.A))  # (d_out, d_in)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        return self.A.T * self.d, self.B.T * self.b  # (d_in, rank), (rank, d_out)


@functools.lru_cache(maxsize=16)
def draw_factors(d_in: int, d_out: int, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return A (rank, d_in) and B (d_out, rank). Layers of equal widths share the same two tensors."""
    generator = torch.Generator().manual_seed(seed)
    return _kaiming_uniform(rank, d_in, generator), _kaiming_uniform(d_out, rank, generator)


def _kaiming_uniform(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Return a random matrix (rows, columns). The fan-in is ``columns``."""
    bound = math.sqrt(6 / columns)
    return torch.empty(rows, columns, device="cpu").uniform_(-bound, bound, generator=generator)
