"""Greedy decoding as the protocol has it: the longest label and the end of sequence, one encoder pass."""

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def greedy(model: Any, input_ids: Tensor, attention_mask: Tensor, *, max_new_tokens: int) -> Tensor:
    """The most likely token at each step: (B, S) source ids → (B, at most max_new_tokens) target ids.

    The same tokens as ``model.generate(do_sample=False, num_beams=1)``. A row that has ended goes on with padding;
    it stops when all have.
    """
    eos, pad = model.config.eos_token_id, model.config.pad_token_id
    encoded = model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)
    token = torch.full_like(input_ids[:, :1], model.config.decoder_start_token_id)
    ended = torch.zeros_like(token, dtype=torch.bool)
    tokens: list[Tensor] = []
    cache = None
    for _ in range(max_new_tokens):
        step = model(
            encoder_outputs=encoded,
            attention_mask=attention_mask,
            decoder_input_ids=token,
            cache=cache,
            use_cache=True,
        )
        cache = step.cache
        token = step.logits[:, -1:].argmax(-1)  # (B, 1)
        token = token.masked_fill(ended, pad)
        tokens.append(token)
        ended = ended | (token == eos)
        if bool(ended.all()):
            break
    return torch.cat(tokens, dim=1)
