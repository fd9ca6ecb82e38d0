"""HiRA, Hadamard high-rank adaptation (Huang et al. 2025).

The update is the elementwise product of the layer's weight and a low-rank matrix.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.arguments import check_float, check_int
from krona.methods.branch import Branch
from krona.methods.initial_values import kaiming_uniform
from krona.methods.peft_layers import Converted, Layers, one_value


class HiRA(Branch):
    """The update ``ΔW = s · W ∘ (A B)ᵀ``, where W is the frozen weight of the layer and ∘ is the elementwise product.

    The shapes are A (d_in, rank), B (rank, d_out) and W (d_out, d_in). A is initialised Kaiming-uniform
    (a = √5, bound 1/√d_in) and B with zeros. Before training, the output therefore equals the backbone's. The number of
    parameters is rank · (d_in + d_out). The rank of the update is at most rank · rank(W), which can be the width of the
    layer.
    """

    peft_type = "HIRA"

    def __init__(self, d_in: int, d_out: int, *, rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__()
        check_int("rank", rank, low=1, high=min(d_in, d_out))
        self.scaling = check_float("scaling", scaling)
        self.A = nn.Parameter(torch.empty(d_in, rank))
        self.B = nn.Parameter(torch.empty(rank, d_out))
        self.update_rank = min(d_in, d_out)
        self.layer: tuple[nn.Module, ...] = ()  # a tuple, so that the layer's weight is not a parameter of the branch
        self.transposed = False
        self.reset_parameters()

    def reset_parameters(self) -> None:
        kaiming_uniform(self.A, self.A.shape[0])
        nn.init.zeros_(self.B)

    def bind(self, layer: nn.Module, *, transposed: bool = False) -> None:
        """Store the layer that has the weight W or, if ``transposed``, Wᵀ, as GPT-2's ``Conv1D`` does."""
        self.layer, self.transposed = (layer,), transposed

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.delta())  # (..., d_in) → (..., d_out)

    def beside(self, layer: nn.Linear, x: Tensor) -> Tensor:
        return F.linear(x, layer.weight + self.delta(), layer.bias)

    def delta(self) -> Tensor:
        W = self.layer[0].get_parameter("weight").detach() if self.layer else None
        if W is None or (W.is_meta and not self.A.is_meta):
            raise KronaError(
                "HiRA's update depends on the weight of its layer, which has no values here. Insert the adapter into a "
                "backbone that is not offloaded."
            )
        W = W.to(self.A.device, self.A.dtype)
        return self.scaling * (W.T if self.transposed else W) * (self.A @ self.B).T  # (d_out, d_in)

    def to_peft(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        # peft's layer has no scale, so the scale is a part of B
        return {"r": self.A.shape[1]}, {"hira_A": self.A.T, "hira_B": self.scaling * self.B.T}

    @classmethod
    def from_peft(cls, layers: Layers, config: Mapping[str, Any]) -> Converted:
        rank = one_value("ranks", {name: len(layer["hira_A"]) for name, layer in layers.items()})
        tensors = {name: {"A": layer["hira_A"].T, "B": layer["hira_B"].T} for name, layer in layers.items()}
        return cls, {"rank": rank}, tensors
