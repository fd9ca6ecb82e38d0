"""Floating-point operations and bytes of one step of a T5, from its sizes.

A product (m, k)·(k, n) is 2·m·k·n operations. A step with frozen weights is the forward pass and as much again for the
gradients of the inputs; where all weights train, their gradients are a third part. A method's branches are left out:
they are below 2 % of the products, and their other time is in a method's own factor (`speed`).
"""

from dataclasses import dataclass
from typing import Any

TARGET = 3  # tokens of a label with the end of sequence, at most
PAIR_OF_MOMENTS = 8  # bytes a parameter of AdamW's state


@dataclass(frozen=True)
class Sizes:
    """The sizes in a T5's config."""

    d_model: int
    d_kv: int
    d_ff: int
    heads: int
    encoder: int  # blocks
    decoder: int
    vocabulary: int
    gated: bool
    params: int

    @property
    def inner(self) -> int:
        return self.heads * self.d_kv

    @property
    def blocks(self) -> float:
        """In encoder blocks: a decoder's has a second attention."""
        return self.encoder + 1.5 * self.decoder


def sizes_of(config: Any, params: int) -> Sizes:
    return Sizes(
        d_model=config.d_model, d_kv=config.d_kv, d_ff=config.d_ff, heads=config.num_heads, encoder=config.num_layers,
        decoder=config.num_decoder_layers, vocabulary=config.vocab_size, gated=config.is_gated_act, params=params,
    )  # fmt: skip


def forward(sizes: Sizes, *, rows: float, source: float, target: float = TARGET) -> float:
    """Operations of one forward pass over ``rows`` of ``source`` and ``target`` tokens."""
    attention = 8 * sizes.d_model * sizes.inner  # q, k, v, o of a token
    ffn = (6 if sizes.gated else 4) * sizes.d_model * sizes.d_ff
    of_source = sizes.encoder * (attention + ffn + 4 * source * sizes.inner)
    of_source += sizes.decoder * 4 * sizes.d_model * sizes.inner  # k and v of the cross-attention
    of_target = sizes.decoder * (1.5 * attention + ffn + 4 * (source + target) * sizes.inner)
    of_target += 2 * sizes.d_model * sizes.vocabulary
    return rows * (source * of_source + target * of_target)


def step(sizes: Sizes, *, rows: float, source: float, all_train: bool) -> float:
    """Operations of a training step."""
    return (3 if all_train else 2) * forward(sizes, rows=rows, source=source)


def elements(sizes: Sizes, *, rows: float, source: float, target: float = TARGET) -> float:
    """Numbers that a forward pass writes between its products: norms, residuals, dropout, softmax, the loss."""
    of_source = sizes.encoder * _of_token(sizes, source) + sizes.decoder * 2 * sizes.inner
    of_target = sizes.decoder * 1.5 * _of_token(sizes, source) + 3 * sizes.vocabulary
    return rows * (source * of_source + target * of_target)


def _of_token(sizes: Sizes, source: float) -> float:
    """The same for a token in a block of the encoder."""
    return 6 * sizes.d_model + 4 * sizes.inner + 2 * sizes.d_ff + sizes.heads * source


def memory(sizes: Sizes, *, rows: float, source: float, trainable: int, precision: str) -> float:
    """Bytes at a step's peak: weights, what trains (its gradient and AdamW's moments), and what backward keeps."""
    frozen_bf16 = precision in ("bf16-frozen", "bf16-true")
    width = 4 if precision == "32-true" else 2  # of an activation
    weights = (2 if frozen_bf16 else 4) * (sizes.params - min(trainable, sizes.params)) + 4 * trainable
    states = (4 + PAIR_OF_MOMENTS) * trainable
    per_token = _of_token(sizes, source)
    if trainable >= sizes.params // 2:  # the inputs of linear layers too
        per_token += 2 * sizes.d_model + sizes.inner + sizes.d_ff
    kept = width * rows * source * (sizes.encoder * per_token + 2 * sizes.decoder * sizes.inner)
    head = 4 * 3 * rows * TARGET * sizes.vocabulary
    return float(weights + states + kept + head)
