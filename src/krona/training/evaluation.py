"""Evaluation of a model on a split: greedy predictions as text, gathered from all ranks, and their scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from krona import metrics
from krona.tasks import Split, Task, Tokenised
from krona.training.batches import ShortToLong
from krona.training.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores a model on one split when it is called."""

    task: Task
    split: Split
    batches: DataLoader[Any]  # of a `ShortToLong`
    tokenizer: Any
    max_new_tokens: int
    ranks: Ranks
    bf16: bool = False  # under autocast, for weights that are in bf16

    def __call__(self, model: nn.Module) -> dict[str, Any]:
        """``score``, ``choice``, ``parts`` and ``predictions`` of `scored`: the same on every rank."""
        order: Any = self.batches.batch_sampler
        assert isinstance(order, ShortToLong)
        training, device = model.training, next(model.parameters()).device
        model.eval()
        texts: list[str] = []
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            for batch in self.batches:
                sources, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
                ids = greedy(model, sources, mask, max_new_tokens=self.max_new_tokens)
                texts += [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
        model.train(training)
        found = [pair for pairs in self.ranks.gather(list(zip(order.order, texts, strict=True))) for pair in pairs]
        by_row = dict(found)
        assert len(by_row) == len(found) == len(self.split)  # no row lost, none counted twice
        return scored(self.task, self.split, [by_row[row] for row in range(len(by_row))])


def scored(task: Task, split: Split, predictions: Sequence[str]) -> dict[str, Any]:
    """Scores of a split, 0-100.

    ``score``: the number of the paper's tables (MRPC: F1). ``choice``: the mean of all the task's metrics, by which the
    best epoch is chosen on dev (MRPC: F1 and accuracy). ``parts``: those metrics by name.
    """
    parts = metrics.load(task)(split.targets, predictions)
    score, choice = task.table_score(parts), task.choice(parts)
    return {"score": score, "choice": choice, "parts": parts, "predictions": list(predictions)}


def longest_target(tokenised: Sequence[Tokenised]) -> int:
    """Tokens of the longest label, the end of sequence among them."""
    return max(len(labels) for split in tokenised for labels in split.rows["labels"])


@torch.no_grad()
def greedy(model: Any, input_ids: Tensor, attention_mask: Tensor, *, max_new_tokens: int) -> Tensor:
    """The most likely token at each step: (B, S) source ids → (B, at most max_new_tokens) target ids.

    The same tokens as ``model.generate(do_sample=False, num_beams=1)``, which takes 5 % longer for labels of a few
    tokens. A row that has ended is padded; decoding stops when all have.
    """
    eos, pad = model.config.eos_token_id, model.config.pad_token_id
    encoded = model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)
    token = torch.full_like(input_ids[:, :1], model.config.decoder_start_token_id)
    ended = torch.zeros_like(token, dtype=torch.bool)
    tokens: list[Tensor] = []
    cache = None
    for _ in range(max_new_tokens):
        inputs = {"encoder_outputs": encoded, "attention_mask": attention_mask, "decoder_input_ids": token}
        step = model(**inputs, cache=cache, use_cache=True)
        cache = step.cache
        token = step.logits[:, -1:].argmax(-1).masked_fill(ended, pad)  # (B, 1)
        tokens.append(token)
        ended = ended | (token == eos)
        if bool(ended.all()):
            break
    return torch.cat(tokens, dim=1)
