"""PA, the scaled parallel adapter (He et al. 2022).

PA is the low-rank baseline of KronA^B (section 3.3 and Figure 1.c of the KronA paper).
"""

from torch import Tensor, nn

from krona.methods.adapter import Adapter
from krona.methods.branch import kaiming_uniform


class ParallelAdapter(Adapter):
    """The update ``s · (relu(x W_down + b_down) W_up + b_up)``, parallel to an FFN: ``Y = FFN(X) + update``.

    The shapes and the number of parameters are those of `Adapter`. The scale s also multiplies b_up, as in the authors'
    code. W_down is initialised Kaiming-uniform (a = √5, bound 1/√d_in) and the other parameters with zeros. Before
    training, the output therefore equals the backbone's.
    """

    def __init__(
        self, d_in: int, d_out: int, *, bottleneck_dim: int = 2, scaling: float = 1.0, non_linearity: str = "relu"
    ) -> None:
        super().__init__(d_in, d_out, bottleneck_dim=bottleneck_dim, non_linearity=non_linearity)
        self.scaling = scaling

    def reset_parameters(self) -> None:
        kaiming_uniform(self.down, self.down.shape[0])
        for zero in (self.down_bias, self.up, self.up_bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        return self.scaling * super().forward(x)  # (..., d_out)
