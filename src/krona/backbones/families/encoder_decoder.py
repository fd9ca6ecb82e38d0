"""The family of encoder-decoders (T5, mT5, BART). The encoder reads the source, and the decoder generates the label."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM
from transformers.modeling_outputs import BaseModelOutput

from krona.backbones.families.family import (
    CACHE,
    IGNORED,
    Batch,
    Family,
    decode_greedily,
    log_likelihood,
    pad_rows,
)
from krona.tasks import Split

LABELS = 8  # maximum number of labels in one pass, because each label needs a copy of the sources' keys and values


class EncoderDecoder(Family):
    """The family of encoder-decoders.

    The loss is the cross entropy of the label's tokens (`Family.summed_loss`, also with class weights), and predictions
    are decoded greedily.
    """

    auto = AutoModelForSeq2SeqLM
    key = "1"

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        texts = [split.sources[row] for row in rows]
        return {"input_ids": self.tokenize(texts, longest=longest)["input_ids"]}

    def label(self, target: str) -> list[int]:
        return list(self.tokenizer(target)["input_ids"])

    def inputs(self, model: Any, batch: Batch) -> dict[str, Any]:
        return {
            "input_ids": batch["input_ids"],
            "attention_mask": batch["attention_mask"],
            "decoder_input_ids": model.prepare_decoder_input_ids_from_labels(batch["labels"]),
            "use_cache": False,
        }

    @torch.no_grad()
    def predict_with_scores(
        self, model: Any, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        mask, config = batch["attention_mask"], model.config
        encoded = model.get_encoder()(input_ids=batch["input_ids"], attention_mask=mask)
        step = partial(decode, model, encoded, mask)
        first = begin = step(torch.full_like(mask[:, :1], config.decoder_start_token_id), None)
        scores = [mask.new_empty(len(mask), 0, dtype=torch.float32)]
        if targets:
            labels = pad_rows([self.label(target) for target in targets], IGNORED).to(mask.device)
            start = model.prepare_decoder_input_ids_from_labels(labels)[:1, :1].expand(len(mask), 1)
            if int(start[0, 0]) != config.decoder_start_token_id:  # mBART's labels start with their last token
                begin = step(start, None)
            scores += [score_labels(model, encoded, mask, begin, part) for part in torch.split(labels, LABELS)]
        ids = decode_greedily(step, first, eos=config.eos_token_id, pad=config.pad_token_id, steps=longest)
        return self.decode_labels(ids), torch.cat(scores, 1)


def decode(model: Any, encoded: Any, attention_mask: Tensor, ids: Tensor, cache: Any) -> Any:
    """Return the model's output for new decoder tokens (B, T), given the encoder's output of sources (B, S)."""
    inputs = {"encoder_outputs": encoded, "attention_mask": attention_mask, "decoder_input_ids": ids}
    return model(**inputs, **{CACHE: cache}, use_cache=True)


def score_labels(model: Any, encoded: Any, attention_mask: Tensor, first: Any, labels: Tensor) -> Tensor:
    """Return the log-probabilities (B, L) of labels (L, T), padded with -100, with one pass of the decoder.

    Args:
        first: the output for the start token. Its cache contains the keys and values of the sources, so that they are
            computed only once. The cache is not changed.
    """
    rows, (count, length) = len(attention_mask), labels.shape
    logits = first.logits[:, None].expand(-1, count, -1, -1)  # (B, L, 1, vocabulary)
    if length > 1:
        cache = copy.deepcopy(first[CACHE])
        cache.batch_repeat_interleave(count)
        ids = labels[:, :-1].clamp(min=0).repeat(rows, 1)  # (B · L, T - 1)
        states = BaseModelOutput(encoded.last_hidden_state.repeat_interleave(count, 0))
        step = decode(model, states, attention_mask.repeat_interleave(count, 0), ids, cache)
        logits = torch.cat([logits, step.logits.unflatten(0, (rows, count))], 2)
    return log_likelihood(logits, labels)
