"""LoRA (Hu et al. 2022), the low-rank baseline of KronA (section 3.2 of the KronA paper)."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.branch import Branch, check_choice, check_int, kaiming_uniform
from krona.methods.magnitude import low_rank_norm_change

Start = Literal["kaiming", "pissa", "olora", "lora_ga", "eva"]
# maps ``init`` to the matrix from which the initial values are computed
NEEDS: dict[str, Literal["weight", "gradient", "covariance"] | None] = {
    "kaiming": None, "pissa": "weight", "olora": "weight", "lora_ga": "gradient", "eva": "covariance"
}  # fmt: skip
GAMMA = 16.0  # γ of LoRA-GA, as in its authors' code


class LoRA(Branch):
    """The update ``s · x A B`` or, with frozen copies A₀ and B₀ of the initial factors, ``s · x (A B - A₀ B₀)``.

    The shapes are A (d_in, rank) and B (rank, d_out). Before training, the output equals the backbone's. The number of
    parameters is rank · (d_in + d_out). The rank of the update is at most ``rank``, or 2 · ``rank`` with A₀ and B₀.

    Args:
        scaling: the factor s. Other implementations have an argument α with s = α / rank. The KronA paper uses α =
            rank, so s = 1.
        init: the initial values of A and B.

            - ``kaiming``: A is initialised Kaiming-uniform (a = √5, bound 1/√d_in), and B with zeros.
            - ``pissa``: A = V √(S/s) and B = √(S/s) Uᵀ for the largest singular values S of W = U S Vᵀ, with A₀ and B₀
              (Meng et al. 2024).
            - ``olora``: Aᵀ and Bᵀ are the first rows of R and the first columns of Q in W = Q R, with A₀ and B₀
              (Büyükakyüz 2024).
            - ``lora_ga``: A contains the first right singular vectors of the gradient of W, and B the left singular
              vectors from rank + 1 to 2 · rank. A and B are multiplied by ⁴√d_out / √γ, with A₀ and B₀ (Wang et al.
              2024).
            - ``eva``: A is initialised with principal components of the layer's inputs, and B with zeros (Paischer et
              al. 2024).

            `krona.surgery.prepare` computes the initial values, except for ``kaiming``.
        init_rows: the number of training rows from which the initial values of ``lora_ga`` and ``eva`` are computed.
    """

    peft_type = "LORA"

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        rank: int = 1,
        scaling: float = 1.0,
        init: Start = "kaiming",
        init_rows: int = 128,
    ) -> None:
        super().__init__()
        largest, why = min(d_in, d_out), f"a layer {d_in} → {d_out} has no higher rank"
        check_choice("init", init, NEEDS)
        if init == "lora_ga":
            largest, why = largest // 2, f"init=lora_ga needs 2 · rank singular vectors of a layer {d_in} → {d_out}"
        check_int("rank", rank, low=1, high=largest, why=why)
        self.scaling = scaling
        if init == "pissa" and self.scaling <= 0:
            raise KronaError(f"method.init=pissa needs a positive method.scaling, not {self.scaling:g}.")
        self.init, self.needs = init, NEEDS[init]
        self.init_rows = check_int("init_rows", init_rows, low=1)
        self.A = nn.Parameter(torch.empty(d_in, rank))
        self.B = nn.Parameter(torch.empty(rank, d_out))
        self.A0: Tensor | None
        self.B0: Tensor | None
        has_copies = self.needs in ("weight", "gradient")
        self.register_buffer("A0", torch.empty(d_in, rank) if has_copies else None)
        self.register_buffer("B0", torch.empty(rank, d_out) if has_copies else None)
        self.update_rank = min(d_in, d_out, 2 * rank) if has_copies else rank
        self.reset_parameters()

    def reset_parameters(self) -> None:
        kaiming_uniform(self.A, self.A.shape[0])
        nn.init.zeros_(self.B)
        for copy in (self.A0, self.B0):
            if copy is not None:
                nn.init.zeros_(copy)

    def prepare(self, matrix: Tensor) -> None:
        rank = self.A.shape[1]
        if self.init == "eva":
            A = torch.linalg.eigh(matrix).eigenvectors.flip(1)[:, :rank]  # in descending order of the eigenvalues
            B = torch.zeros(self.B.shape)
        elif self.init == "olora":
            Q, R = torch.linalg.qr(matrix)
            A, B = R[:rank].T, Q[:, :rank].T
        else:
            U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
            if self.init == "pissa":
                root = (S[:rank] / self.scaling).sqrt()
                A, B = Vh[:rank].T * root, root[:, None] * U[:, :rank].T
            else:
                size = len(matrix) ** 0.25 / math.sqrt(GAMMA)
                A, B = size * Vh[:rank].T, size * U[:, rank : 2 * rank].T
        with torch.no_grad():
            self.A.copy_(A)
            self.B.copy_(B)
            if self.A0 is not None and self.B0 is not None:
                self.A0.copy_(self.A)
                self.B0.copy_(self.B)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return factors (d_in, r) and (r, d_out) of the update without its scale.

        ``A B - A₀ B₀ = (A - A₀) B + A₀ (B - B₀)``. Before training, both terms are therefore exactly zero.
        """
        if self.A0 is None or self.B0 is None:
            return self.A, self.B
        return torch.cat([self.A - self.A0, self.A0], dim=1), torch.cat([self.B, self.B - self.B0])

    def forward(self, x: Tensor) -> Tensor:
        A, B = self.factors()
        B = B if self.scaling == 1.0 else self.scaling * B  # skip the multiplication by 1
        return x @ A @ B  # (..., d_in) → (..., r) → (..., d_out)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        A, B = self.factors()
        return A, self.scaling * B

    def norm_change(self, W: Tensor) -> Tensor:
        return low_rank_norm_change(W, *self.low_rank())

    def delta(self) -> Tensor:
        A, B = self.factors()
        return self.scaling * (A @ B).T  # (d_out, d_in)

    def to_peft(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        A, B = self.factors()
        rank = A.shape[1]
        return {"r": rank, "lora_alpha": self.scaling * rank}, {"lora_A": A.T, "lora_B": B.T}
