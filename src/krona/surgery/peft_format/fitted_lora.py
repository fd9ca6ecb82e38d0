"""LoRA of one rank over layers of several widths, as peft's folders may hold it."""

from krona.methods.lora import LoRA


class FittedLoRA(LoRA):
    """LoRA whose rank is ``rank``, or the most that the layer d_in → d_out can use: ``min(rank, d_in, d_out)``."""

    def __init__(self, d_in: int, d_out: int, *, rank: int = 1, scaling: float = 1.0) -> None:
        super().__init__(d_in, d_out, rank=min(rank, d_in, d_out), scaling=scaling)
