"""The family of decoders (Llama, Qwen, Mistral, GPT-2, GPT-NeoX), which generate the label's text after the source."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from krona.backbones.families.family import CACHE, IGNORED, Batch, Family, decode_greedily, log_likelihood, pad_batch
from krona.messages import KronaError
from krona.tasks import Split, Task

LABEL_CUE = " label:"  # the text between the source and the label


class Decoder(Family):
    """The family of decoders.

    The loss is the cross entropy of the label's tokens, and predictions are decoded greedily. Sources are padded on the
    left, so that the labels of all rows begin at the same index. Position ids begin at the first token of each row, so
    that a prediction does not depend on the other rows of the batch.
    """

    auto = AutoModelForCausalLM
    key = f"decoder 1 {LABEL_CUE!r}"
    answer_follows = True

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(task, tokenizer)
        if tokenizer.eos_token_id is None:
            raise KronaError(
                "The backbone's tokenizer has no end-of-sequence token, but a decoder needs it to end its answers."
            )
        self.eos = int(tokenizer.eos_token_id)
        self.label_cue = list(tokenizer(LABEL_CUE, add_special_tokens=False)["input_ids"])

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        texts = [split.sources[row] for row in rows]
        ids = self.tokenizer(texts, verbose=False)["input_ids"]
        ids = [row[:-1] if row[-1:] == [self.eos] else row for row in ids]  # some tokenizers append EOS
        kept = None if longest is None else max(0, longest - len(self.label_cue))
        return {"input_ids": [[*row[:kept], *self.label_cue] for row in ids]}

    def label(self, target: str) -> list[int]:
        return [*self.tokenizer(f" {target}", add_special_tokens=False)["input_ids"], self.eos]

    def collate(self, rows: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
        """Return tokenised rows as padded tensors.

        ``input_ids`` (B, S) contains only the sources. `inputs` appends the tokens of the labels.
        """
        return pad_batch(rows, self.eos, left=True)

    def inputs(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        labels = batch["labels"]  # (B, T)
        own = labels != IGNORED  # short labels are padded at the end, so that no token attends to the padding
        ids = torch.cat([batch["input_ids"], labels.masked_fill(~own, self.eos)], 1)  # (B, S + T)
        mask = torch.cat([batch["attention_mask"], own.long()], 1)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": positions(mask),
            "use_cache": False,
            "logits_to_keep": labels.shape[1] + 1,  # keep the logits of the source's last token and the label's tokens
        }

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        return super().logits(model, batch)[:, :-1]  # (B, T, vocabulary)

    @torch.no_grad()
    def predict_with_scores(
        self, model: nn.Module, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        mask = batch["attention_mask"]
        source = self._step(model, batch["input_ids"], mask, None)
        scores = [mask.new_empty(len(mask), 0, dtype=torch.float32)]
        for target in targets:  # a pass for all labels would need a copy of the source's cache for each of them
            labels = mask.new_tensor(self.label(target))
            ids = labels[:-1].expand(len(mask), -1)
            logits = source.logits[:, -1:]
            if ids.shape[1]:
                wide = torch.cat([mask, torch.ones_like(ids)], 1)
                step = self._step(model, ids, wide, copy.deepcopy(source[CACHE]), logits=ids.shape[1])
                logits = torch.cat([logits, step.logits], 1)
            scores.append(log_likelihood(logits, labels)[:, None])

        def next_step(ids: Tensor, cache: Any) -> Any:
            nonlocal mask
            mask = torch.cat([mask, torch.ones_like(ids)], 1)
            return self._step(model, ids, mask, cache)

        ids = decode_greedily(next_step, source, eos=self.eos, pad=self.eos, steps=longest)
        return self.decode_labels(ids), torch.cat(scores, 1)

    def _step(self, model: nn.Module, ids: Tensor, mask: Tensor, cache: Any, *, logits: int = 1) -> Any:
        """Return the model's output for the new tokens ``ids``.

        The attention mask covers the earlier and the new tokens.
        """
        place = positions(mask)[:, -ids.shape[1] :]
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": place, CACHE: cache}
        return model(**inputs, use_cache=True, logits_to_keep=logits)


def positions(mask: Tensor) -> Tensor:
    """Return the position ids (B, S) for an attention mask (B, S). The padding and the first token of a row get 0."""
    return (mask.cumsum(-1) - 1).clamp(min=0)
