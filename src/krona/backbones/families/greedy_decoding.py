"""Decode short answers greedily, and compute the log-probability of a given answer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import CausalLMOutputWithPast

# The cache's name in the arguments and outputs of models, which changed in transformers 5.24.
CACHE = "cache" if "cache" in CausalLMOutputWithPast.__annotations__ else "past_key_values"


@torch.no_grad()
def decode_greedily(
    step: Callable[[Tensor, Any], Any], ids: Tensor, *, eos: int, pad: int, steps: int, first: Any = None
) -> Tensor:
    """Return the most likely next tokens, (B, at most ``steps``), after the tokens ``ids`` (B, S).

    A row ends with the end-of-sequence token, and is then padded. Decoding stops when all rows have ended. The tokens
    are the same as those of ``model.generate(do_sample=False, num_beams=1)``, which takes 5 % longer for short labels.

    Args:
        step: a function that returns the model's output for new tokens and the cache of all earlier tokens.
        eos, pad: the ids of the tokens for the end of the sequence and for padding.
        first: the model's output for ``ids``, if it is already known.
    """
    ended = torch.zeros_like(ids[:, :1], dtype=torch.bool)
    tokens: list[Tensor] = []
    cache = None
    for _ in range(steps):
        output = step(ids, cache) if first is None else first
        cache, first = output[CACHE], None
        ids = output.logits[:, -1:].argmax(-1).masked_fill(ended, pad)  # (B, 1)
        tokens.append(ids)
        ended = ended | (ids == eos)
        if bool(ended.all()):
            break
    return torch.cat(tokens, dim=1)


def log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the log-probability of one text for each row, (B,) in fp32.

    The arguments are the logits (B, T, vocabulary) for the tokens of the text, and the token ids of the text (T,).
    """
    log_probabilities = logits.float().log_softmax(-1)
    return log_probabilities.gather(-1, labels.expand(len(logits), -1)[..., None]).sum((-1, -2))
