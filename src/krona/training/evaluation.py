"""A split scored by a model: greedy predictions as text, each rank's put together, against the labels."""

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
    """What scores a model on one split."""

    task: Task
    split: Split
    batches: DataLoader[Any]  # of a `ShortToLong`
    tokenizer: Any
    max_new_tokens: int
    ranks: Ranks
    bf16: bool = False  # under autocast, for weights that are in bf16

    def __call__(self, model: nn.Module) -> dict[str, Any]:
        """``score``, ``choice``, ``parts`` and ``predictions``, as `scored` has them: the same on every rank."""
        order: Any = self.batches.batch_sampler
        assert isinstance(order, ShortToLong)
        device = next(model.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            texts = predict(model, self.batches, self.tokenizer, max_new_tokens=self.max_new_tokens)
        found = [pair for pairs in self.ranks.gather(list(zip(order.order, texts, strict=True))) for pair in pairs]
        by_row = dict(found)
        assert len(by_row) == len(found) == len(self.split)  # no row lost, none counted twice
        return scored(self.task, self.split, [by_row[row] for row in range(len(by_row))])


@torch.no_grad()
def predict(model: nn.Module, batches: DataLoader[Any], tokenizer: Any, *, max_new_tokens: int) -> list[str]:
    """Greedy predictions as text, in the order in which the rows come."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    texts: list[str] = []
    for batch in batches:
        ids = greedy(
            model,
            batch["input_ids"].to(device),
            batch["attention_mask"].to(device),
            max_new_tokens=max_new_tokens,
        )
        texts += [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    model.train(training)
    return texts


def scored(task: Task, split: Split, predictions: Sequence[str]) -> dict[str, Any]:
    """Scores of a split, 0-100.

    ``score`` is the number that the paper's tables show for the task (MRPC: F1). ``choice`` is what picks the best
    epoch on dev: the mean of all the task's metrics (MRPC: F1 and accuracy). ``parts`` are those metrics by name.
    """
    parts = metrics.load(task)(split.targets, predictions)
    return {
        "score": task.table_score(parts),
        "choice": task.choice(parts),
        "parts": parts,
        "predictions": list(predictions),
    }


def longest_target(tokenised: Sequence[Tokenised]) -> int:
    """Tokens of the longest label, the end of sequence among them."""
    return max(len(labels) for split in tokenised for labels in split.rows["labels"])


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
