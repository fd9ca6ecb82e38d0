"""Floating-point operations and bytes of one step of a backbone, from its sizes.

A product (m, k)·(k, n) is 2·m·k·n operations. A step with frozen weights is the forward pass and as much again for the
gradients of the inputs; where all weights train, their gradients are a third part. A method's branches are left out:
they are below 2 % of the products, and their other time is in a method's own factor (`speed`).
"""

from krona.backbones.families import Sizes

TARGET = 3  # tokens of a label with the end of sequence, at most
PAIR_OF_MOMENTS = 8  # bytes a parameter of AdamW's state


def forward(sizes: Sizes, *, rows: float, source: float, target: float = TARGET) -> float:
    """Operations of one forward pass over ``rows`` of ``source`` and ``target`` tokens."""
    attention = 4 * sizes.d_model * (sizes.inner + sizes.keys)  # q, k, v, o of a token
    ffn = (6 if sizes.gated else 4) * sizes.d_model * sizes.d_ff
    through = _through(sizes, source, target)
    of_block = attention + ffn + 4 * (through + sizes.positions) * sizes.inner
    of_source = through * sizes.encoder * of_block
    of_source += source * sizes.decoder * 4 * sizes.d_model * sizes.inner  # k and v of the cross-attention
    of_target = target * sizes.decoder * (1.5 * attention + ffn + 4 * (source + target) * sizes.inner)
    head = 2 * (_written(sizes, target) * sizes.d_model * sizes.vocabulary + sizes.head)
    of_positions = sizes.encoder * sizes.positions * 4 * sizes.d_model * sizes.inner  # once: they are no row's own
    return rows * (of_source + of_target + head) + of_positions


def _through(sizes: Sizes, source: float, target: float) -> float:
    """Tokens of a row in the blocks of the source."""
    return source + (target if sizes.answer_follows else 0)


def _written(sizes: Sizes, target: float) -> float:
    """Tokens of a row that meet the vocabulary: of a decoder the source's last one too."""
    return target + 1 if sizes.answer_follows else target


def step(sizes: Sizes, *, rows: float, source: float, all_train: bool) -> float:
    """Operations of a training step."""
    return (3 if all_train else 2) * forward(sizes, rows=rows, source=source)


def elements(sizes: Sizes, *, rows: float, source: float, target: float = TARGET) -> float:
    """Numbers that a forward pass writes between its products: norms, residuals, dropout, softmax, the loss."""
    through = _through(sizes, source, target)
    of_source = through * sizes.encoder * _of_token(sizes, through) + source * sizes.decoder * 2 * sizes.inner
    of_target = target * sizes.decoder * 1.5 * _of_token(sizes, source)
    return rows * (of_source + of_target + _written(sizes, target) * 3 * sizes.vocabulary)


def _of_token(sizes: Sizes, source: float) -> float:
    """The same for a token in a block of the source."""
    scores = sizes.heads * (source + 2 * sizes.positions)
    return 6 * sizes.d_model + 2 * (sizes.inner + sizes.keys) + 2 * sizes.d_ff + scores


def memory(sizes: Sizes, *, rows: float, source: float, trainable: int, precision: str) -> float:
    """Bytes at a step's peak: weights, what trains (its gradient and AdamW's moments), and what backward keeps."""
    frozen_bf16 = precision in ("bf16-frozen", "bf16-true")
    width = 4 if precision == "32-true" else 2  # of an activation
    weights = (2 if frozen_bf16 else 4) * (sizes.params - min(trainable, sizes.params)) + 4 * trainable
    states = (4 + PAIR_OF_MOMENTS) * trainable
    through = _through(sizes, source, TARGET)
    per_token = _of_token(sizes, through)
    if trainable >= sizes.params // 2:  # the inputs of linear layers too
        per_token += 2 * sizes.d_model + sizes.inner + sizes.d_ff
    kept = width * rows * (through * sizes.encoder * per_token + source * 2 * sizes.decoder * sizes.inner)
    head = 4 * 3 * rows * _written(sizes, TARGET) * sizes.vocabulary
    return float(weights + states + kept + head)
