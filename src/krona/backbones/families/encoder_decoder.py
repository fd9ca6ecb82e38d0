"""The family of encoder-decoders (T5, mT5, BART). The encoder reads the source, and the decoder generates the label."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM

from krona.backbones.families.family import CACHE, Batch, Family, decode_greedily, log_likelihood, truncation_arguments
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

    @torch.no_grad()
    def predict_with_scores(
        self, model: Any, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        mask = batch["attention_mask"]
        encoded = model.get_encoder()(input_ids=batch["input_ids"], attention_mask=mask)
        scores = mask.new_empty(len(mask), len(targets), dtype=torch.float32)
        for number, target in enumerate(targets):
            labels = mask.new_tensor(self.label(target))
            ids = model.prepare_decoder_input_ids_from_labels(labels[None]).expand(len(mask), -1)
            step = model(encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=ids, use_cache=False)
            scores[:, number] = log_likelihood(step.logits, labels)
        return self.decode_labels(greedy(model, encoded, mask, steps=longest)), scores


@torch.no_grad()
def greedy(model: Any, encoded: Any, attention_mask: Tensor, *, steps: int) -> Tensor:
    """Return greedily decoded token ids (B, at most ``steps``) for the encoder's output of sources (B, S)."""

    def step(ids: Tensor, cache: Any) -> Any:
        inputs = {"encoder_outputs": encoded, "attention_mask": attention_mask, "decoder_input_ids": ids}
        return model(**inputs, **{CACHE: cache}, use_cache=True)

    start = torch.full_like(attention_mask[:, :1], model.config.decoder_start_token_id)
    eos, pad = model.config.eos_token_id, model.config.pad_token_id
    return decode_greedily(step, step(start, None), eos=eos, pad=pad, steps=steps)
