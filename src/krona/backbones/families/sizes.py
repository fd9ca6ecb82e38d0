"""Sizes of a backbone that its operations and memory follow from, read from its config."""

from dataclasses import dataclass
from typing import Any

from krona.messages import KronaError

FFN_WIDTHS = ("intermediate_size", "hidden_dim", "encoder_ffn_dim", "ffn_dim", "n_inner")  # names of it in configs


@dataclass(frozen=True)
class Sizes:
    """Widths and numbers of blocks.

    encoder: blocks that a source passes through; decoder: those of a label alone, with a cross-attention.
    vocabulary: of the layer that writes words; 0 without one. kv_heads: of keys and values; None: ``heads``.
    answer_follows: a label passes through the source's blocks, after it. positions: relative ones that each token is
    compared with, as query and as key (DeBERTa). head: weights of the layers that classify a row.
    """

    d_model: int
    d_kv: int
    d_ff: int
    heads: int
    encoder: int
    decoder: int
    vocabulary: int
    gated: bool
    params: int
    kv_heads: int | None = None
    answer_follows: bool = False
    positions: int = 0
    head: int = 0

    @property
    def inner(self) -> int:
        return self.heads * self.d_kv

    @property
    def keys(self) -> int:
        """The width of the keys, and of the values."""
        return self.d_kv * (self.heads if self.kv_heads is None else self.kv_heads)

    @property
    def blocks(self) -> float:
        """In encoder blocks: a decoder's has a second attention."""
        return self.encoder + 1.5 * self.decoder


def sizes_in(config: Any, params: int, **others: Any) -> Sizes:
    """The sizes under the names that most configs have; ``others``: what only a family knows.

    Raises KronaError for a config that names the width of its FFN otherwise.
    """
    width, heads = config.hidden_size, config.num_attention_heads
    ffn = [getattr(config, name) or 4 * width for name in FFN_WIDTHS if hasattr(config, name)]  # null: GPT-2's
    if not ffn:
        raise KronaError(
            f"the config of a {config.model_type} has none of {', '.join(FFN_WIDTHS)}: the name that it has goes into "
            "FFN_WIDTHS of src/krona/backbones/families/sizes.py"
        )
    return Sizes(
        d_model=width, d_kv=getattr(config, "head_dim", None) or width // heads, heads=heads,
        d_ff=ffn[0], kv_heads=getattr(config, "num_key_value_heads", None),
        encoder=config.num_hidden_layers, params=params, **others,
    )  # fmt: skip
