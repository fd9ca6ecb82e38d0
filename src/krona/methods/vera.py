"""VeRA, vector-based random matrix adaptation (Kopiczko et al. 2024): frozen random factors and two trained vectors."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.arguments import check_float, check_int
from krona.methods.branch import Branch
from krona.methods.peft_layers import Converted, Layers, one_value


class VeRA(Branch):
    """The update ``ΔW = diag(b) B diag(d) A`` (Eq. 2 of the VeRA paper), where A and B are frozen.

    The shapes are A (rank, d_in), B (d_out, rank), d (rank) and b (d_out). A and B are initialised Kaiming-uniform
    (a = 0, bound √(6 / fan-in)), d with ``d_initial``, and b with zeros. Before training, the output therefore equals
    the backbone's. The number of parameters is rank + d_out. The rank of the update is at most ``rank``.

    Args:
        rank: the rank of A and B.
        d_initial: the initial value of all numbers in d.
        seed: the random seed of A and B. Layers with equal widths share A and B. A and B are not counted as
            parameters and are not saved in an adapter file.
    """

    peft_type = "VERA"

    def __init__(self, d_in: int, d_out: int, *, rank: int = 256, d_initial: float = 0.1, seed: int = 0) -> None:
        super().__init__()
        check_int("rank", rank, low=1)
        check_int("seed", seed, low=0)
        self.d_initial = check_float("d_initial", d_initial)
        self.sizes, self.seed = (d_in, d_out, rank), seed
        self.d = nn.Parameter(torch.empty(rank))
        self.b = nn.Parameter(torch.empty(d_out))
        self.frozen = draw_factors(*self.sizes, seed, self.d.device, self.d.dtype)
        self.update_rank = min(rank, d_in, d_out)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.d, self.d_initial)
        nn.init.zeros_(self.b)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A and B on the device and in the dtype of d.

        A and B are not buffers, because ``to_empty`` would leave buffers uninitialised. A state dict does not contain
        A and B.
        """
        A, B = self.frozen
        if (A.device, A.dtype) != (self.d.device, self.d.dtype):
            A, B = self.frozen = draw_factors(*self.sizes, self.seed, self.d.device, self.d.dtype)
        return A, B

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "VeRA":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.factors()  # draw A and B now, because torch.compile cannot trace the random generator
        return self

    def forward(self, x: Tensor) -> Tensor:
        A, B = self.factors()
        return (x @ A.T * self.d) @ B.T * self.b  # (..., d_in) → (..., rank) → (..., d_out)

    def delta(self) -> Tensor:
        A, B = self.factors()
        return self.b[:, None] * (B @ (self.d[:, None] * A))  # (d_out, d_in)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        A, B = self.factors()
        return A.T * self.d, B.T * self.b  # (d_in, rank), (rank, d_out)

    def to_peft(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config = {"r": len(self.d), "projection_prng_key": self.seed, "d_initial": self.d_initial}
        A, B = self.factors()
        return config, {"vera_A": A, "vera_B": B, "vera_lambda_d": self.d, "vera_lambda_b": self.b}

    @classmethod
    def from_peft(cls, layers: Layers, config: Mapping[str, Any]) -> Converted:
        """Convert layers of equal shapes, if krona draws the same frozen matrices A and B from the seed.

        For narrower layers, peft uses slices of one A and one B, but krona draws A and B separately for each shape.

        Raises:
            KronaError: the layers have different shapes, or krona draws other frozen matrices from the seed.
        """
        rank = one_value("ranks", {name: len(layer["vera_lambda_d"]) for name, layer in layers.items()})
        shapes = {name: (layer["in_features"], len(layer["vera_lambda_b"])) for name, layer in layers.items()}
        d_in, d_out = one_value("shapes of layers", shapes)
        first, seed = next(iter(layers.values())), config["projection_prng_key"]
        drawn = draw_factors(d_in, d_out, rank, seed, first["vera_A"].device, first["vera_A"].dtype)
        for own, peft in zip(drawn, (first["vera_A"], first["vera_B"]), strict=True):
            if not torch.equal(own, peft):
                raise KronaError(
                    f"Its frozen matrices do not match projection_prng_key={seed} for layers of one shape."
                )
        arguments = {"rank": rank, "d_initial": config["d_initial"], "seed": seed}
        tensors = {name: {"d": layer["vera_lambda_d"], "b": layer["vera_lambda_b"]} for name, layer in layers.items()}
        return cls, arguments, tensors


@functools.lru_cache(maxsize=16)
def draw_factors(
    d_in: int, d_out: int, rank: int, seed: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return A (rank, d_in) and B (d_out, rank). Layers of equal widths share the same two tensors."""
    generator = torch.Generator().manual_seed(seed)
    factors = []
    for rows, fan_in in ((rank, d_in), (d_out, rank)):
        bound = math.sqrt(6 / fan_in)
        factor = torch.empty(rows, fan_in, dtype=torch.float32, device="cpu")
        factors.append(factor.uniform_(-bound, bound, generator=generator).to(device, dtype))
    return factors[0], factors[1]
