"""Encoder-decoders (T5, mT5, BART): the source goes into the encoder, the label's text is the decoder's."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM

from krona.backbones.families.family import (
    CACHE,
    IGNORED,
    Architecture,
    Batch,
    Family,
    decode_greedily,
    log_likelihood,
    padded,
    padded_sources,
    summed_cross_entropy,
    truncation_arguments,
)
from krona.tasks import Split

T5 = Architecture(names={})  # the words of methods are T5's own names
BART = Architecture(
    names={
        "q": ["q_proj"],
        "k": ["k_proj"],
        "v": ["v_proj"],
        "o": ["out_proj"],
        "SelfAttention": ["self_attn.q_proj:self_attn.out_proj"],
        "EncDecAttention": ["encoder_attn.q_proj:encoder_attn.out_proj"],
        "DenseReluDense": ["fc1:fc2"],
        "wi*": ["fc1"],
        "wo": ["fc2"],
        "layer_norm": ["self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"],
    }
)
ARCHITECTURES = {"t5": T5, "mt5": T5, "umt5": T5, "bart": BART, "mbart": BART}


class EncoderDecoder(Family):
    """T5's loss over the label's tokens, and greedy decoding."""

    auto = AutoModelForSeq2SeqLM
    key = "1"

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        texts = [split.sources[row] for row in rows]
        return {"input_ids": self.tokenizer(texts, **truncation_arguments(longest))["input_ids"]}

    def label(self, target: str) -> list[int]:
        return list(self.tokenizer(target)["input_ids"])

    def collate(self, rows: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
        return collate(rows, self.tokenizer.pad_token_id)

    def inputs(self, model: Any, batch: Batch) -> dict[str, Any]:
        return inputs(model, batch)

    def summed_loss(self, model: Any, batch: Batch) -> Tensor:
        return summed_loss(model, batch)

    def answers(self, model: Any, batch: Batch, *, longest: int) -> list[str]:
        return self.decode_labels(greedy(model, batch["input_ids"], batch["attention_mask"], max_new_tokens=longest))

    @torch.no_grad()
    def predict_with_scores(
        self, model: Any, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        source = model.get_encoder()(input_ids=ids, attention_mask=mask)
        answers = self.decode_labels(greedy(model, ids, mask, max_new_tokens=longest, encoded=source))
        scores = []
        for target in targets:
            labels = mask.new_tensor(self.label(target))
            ids = model.prepare_decoder_input_ids_from_labels(labels[None]).expand(len(mask), -1)
            step = model(encoder_outputs=source, attention_mask=mask, decoder_input_ids=ids, use_cache=False)
            scores.append(log_likelihood(step.logits, labels))
        return answers, torch.stack(scores, 1)

    def decode_labels(self, ids: Tensor) -> list[str]:
        return list(self.tokenizer.batch_decode(ids, skip_special_tokens=True))


def collate(rows: Sequence[Mapping[str, Sequence[Any]]], pad_token_id: int) -> Batch:
    """Rows → input_ids and attention_mask (B, longest source), labels (B, longest target) padded with -100.

    Without rows, as one of several devices may be in a last batch, the tensors have none.
    """
    labels = padded([row["labels"] for row in rows], IGNORED)  # (B, T)
    return {**padded_sources(rows, pad_token_id), "labels": labels}


def inputs(model: Any, batch: Batch) -> dict[str, Any]:
    return {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["attention_mask"],
        "decoder_input_ids": model.prepare_decoder_input_ids_from_labels(batch["labels"]),
        "use_cache": False,
    }


def summed_loss(model: Any, batch: Batch) -> Tensor:
    """Cross entropy in fp32, summed over the label tokens of a batch: T5's loss before its mean."""
    logits = model(**inputs(model, batch)).logits  # (B, T, vocabulary)
    return summed_cross_entropy(logits, batch["labels"])


def greedy(
    model: Any, input_ids: Tensor, attention_mask: Tensor, *, max_new_tokens: int, encoded: Any = None
) -> Tensor:
    """Decode (B, S) source ids into (B, at most max_new_tokens) target ids.

    ``encoded``: the encoder's output for these sources, if it is known.
    """
    if encoded is None:
        with torch.no_grad():
            encoded = model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)

    def step(ids: Tensor, cache: Any) -> Any:
        inputs = {"encoder_outputs": encoded, "attention_mask": attention_mask, "decoder_input_ids": ids}
        return model(**inputs, **{CACHE: cache}, use_cache=True)

    start = torch.full_like(input_ids[:, :1], model.config.decoder_start_token_id)
    eos, pad = model.config.eos_token_id, model.config.pad_token_id
    return decode_greedily(step, start, eos=eos, pad=pad, steps=max_new_tokens)
