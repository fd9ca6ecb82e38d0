"""The family of encoder-decoders (T5, mT5, BART). The encoder reads the source, and the decoder generates the label."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM

from krona.backbones.families.family import Batch, Family, truncation_arguments
from krona.backbones.families.greedy_decoding import CACHE, decode_greedily, log_likelihood
from krona.tasks import Split


class EncoderDecoder(Family):
    """The family of encoder-decoders.

    The loss is the cross entropy of the label's tokens, and predictions are decoded greedily.
    """

    auto = AutoModelForSeq2SeqLM
    key = "1"

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        texts = [split.sources[row] for row in rows]
        return {"input_ids": self.tokenizer(texts, **truncation_arguments(longest))["input_ids"]}

    def label(self, target: str) -> list[int]:
        return list(self.tokenizer(target)["input_ids"])

    def inputs(self, model: Any, batch: Batch) -> dict[str, Any]:
        return {
            "input_ids": batch["input_ids"],
            "attention_mask": batch["attention_mask"],
            "decoder_input_ids": model.prepare_decoder_input_ids_from_labels(batch["labels"]),
            "use_cache": False,
        }

    def answers(self, model: Any, batch: Batch, *, longest: int) -> list[str]:
        return self.decode_labels(greedy(model, batch["input_ids"], batch["attention_mask"], max_new_tokens=longest))

    @torch.no_grad()
    def predict_with_scores(
        self, model: Any, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        encoded = model.get_encoder()(input_ids=ids, attention_mask=mask)
        answers = self.decode_labels(greedy(model, ids, mask, max_new_tokens=longest, encoded=encoded))
        scores = []
        for target in targets:
            labels = mask.new_tensor(self.label(target))
            ids = model.prepare_decoder_input_ids_from_labels(labels[None]).expand(len(mask), -1)
            step = model(encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=ids, use_cache=False)
            scores.append(log_likelihood(step.logits, labels))
        return answers, torch.stack(scores, 1)


def greedy(
    model: Any, input_ids: Tensor, attention_mask: Tensor, *, max_new_tokens: int, encoded: Any = None
) -> Tensor:
    """Return greedily decoded token ids (B, at most max_new_tokens) for sources (B, S).

    ``encoded`` is the encoder's output for these sources, if it is already known.
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
