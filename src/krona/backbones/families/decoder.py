"""Decoders (Llama, Qwen, Mistral, GPT-2, GPT-NeoX): the source text followed by the label's text."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

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
)
from krona.messages import KronaError
from krona.tasks import Split

ASKS = " label:"  # stands between the source and the label

LLAMA = Architecture(
    names={
        "q": ["q_proj"],
        "k": ["k_proj"],
        "v": ["v_proj"],
        "o": ["o_proj"],
        "SelfAttention": ["self_attn.q_proj:self_attn.o_proj"],
        "DenseReluDense": ["mlp.gate_proj:mlp.down_proj"],
        "wi*": ["gate_proj", "up_proj"],
        "wo": ["down_proj"],
        "layer_norm": ["input_layernorm", "post_attention_layernorm"],
    },
)
GPT2 = Architecture(
    names={
        "q": ["c_attn"],
        "k": ["c_attn"],
        "v": ["c_attn"],
        "o": ["attn.c_proj"],
        "SelfAttention": ["attn.c_attn:attn.c_proj"],
        "DenseReluDense": ["mlp.c_fc:mlp.c_proj"],
        "wi*": ["c_fc"],
        "wo": ["mlp.c_proj"],
        "layer_norm": ["ln_1", "ln_2"],
    }
)
NEOX = Architecture(
    names={
        "q": ["query_key_value"],
        "k": ["query_key_value"],
        "v": ["query_key_value"],
        "o": ["attention.dense"],
        "SelfAttention": ["attention.query_key_value:attention.dense"],
        "DenseReluDense": ["mlp.dense_h_to_4h:mlp.dense_4h_to_h"],
        "wi*": ["dense_h_to_4h"],
        "wo": ["dense_4h_to_h"],
        "layer_norm": ["input_layernorm", "post_attention_layernorm"],
    }
)
ARCHITECTURES = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gpt2": GPT2,
    "gpt_neox": NEOX,
}


class Decoder(Family):
    """Cross entropy over the label's tokens alone, and greedy decoding from the source.

    Sources are padded at the left, so that every row's label begins at the same place, and positions count from a row's
    own first token: a row's answer does not depend on the other rows of its batch.
    """

    auto = AutoModelForCausalLM
    key = f"decoder 1 {ASKS!r}"
    answer_follows = True

    def __init__(self, task: Any, tokenizer: Any) -> None:
        super().__init__(task, tokenizer)
        if tokenizer.eos_token_id is None:
            raise KronaError("the backbone's tokenizer has no end-of-sequence token, so an answer would never end")
        self.eos = int(tokenizer.eos_token_id)
        self.asks = list(tokenizer(ASKS, add_special_tokens=False)["input_ids"])

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        texts = [split.sources[row] for row in rows]
        ids = [self._open_ended(row) for row in self.tokenizer(texts, verbose=False)["input_ids"]]
        if longest is not None and longest <= len(self.asks):
            raise KronaError(f"max_source_length={longest}: {ASKS!r} after the source takes {len(self.asks)} tokens")
        kept = None if longest is None else longest - len(self.asks)
        return {"input_ids": [[*row[:kept], *self.asks] for row in ids]}

    def _open_ended(self, ids: list[int]) -> list[int]:
        """Without the end of sequence that some tokenizers add."""
        return ids[:-1] if ids and ids[-1] == self.eos else ids

    def label(self, target: str) -> list[int]:
        return [*self.tokenizer(f" {target}", add_special_tokens=False)["input_ids"], self.eos]

    def collate(self, rows: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
        """``input_ids`` (B, S) of the source alone; the loss puts the label's tokens after it."""
        labels = padded([row["labels"] for row in rows], IGNORED)  # (B, T)
        return {**padded_sources(rows, self.eos, left=True), "labels": labels}

    def inputs(self, model: Any, batch: Batch) -> dict[str, Any]:
        """Label tokens follow the source at once; what pads short labels stands at the end, where nothing sees it."""
        labels = batch["labels"]  # (B, T)
        own = labels != IGNORED
        ids = torch.cat([batch["input_ids"], labels.masked_fill(~own, self.eos)], 1)  # (B, S + T)
        mask = torch.cat([batch["attention_mask"], own.long()], 1)
        own_logits = labels.shape[1] + 1  # those after the source's last token, and after each of the label's
        return {
            "input_ids": ids, "attention_mask": mask, "position_ids": positions(mask), "use_cache": False,
            "logits_to_keep": own_logits,
        }  # fmt: skip

    def summed_loss(self, model: Any, batch: Batch) -> Tensor:
        logits = model(**self.inputs(model, batch)).logits[:, :-1]  # (B, T, vocabulary)
        return summed_cross_entropy(logits, batch["labels"])

    def answers(self, model: Any, batch: Batch, *, longest: int) -> list[str]:
        return self.decode_labels(self._greedy(model, batch["input_ids"], batch["attention_mask"], steps=longest))

    def decode_labels(self, ids: Tensor) -> list[str]:
        return list(self.tokenizer.batch_decode(ids, skip_special_tokens=True))

    @torch.no_grad()
    def predict_with_scores(
        self, model: Any, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        mask = batch["attention_mask"]
        source = self._step(model, batch["input_ids"], mask, positions(mask), None)
        scores = []
        for target in targets:
            labels = mask.new_tensor(self.label(target))
            ids = labels[:-1].expand(len(mask), -1)
            logits = source.logits[:, -1:]
            if ids.shape[1]:
                wide = torch.cat([mask, torch.ones_like(ids)], 1)
                place = positions(wide)[:, mask.shape[1] :]
                step = self._step(model, ids, wide, place, copy.deepcopy(source[CACHE]), logits=ids.shape[1])
                logits = torch.cat([logits, step.logits], 1)
            scores.append(log_likelihood(logits, labels))
        ids = self._greedy(model, batch["input_ids"], mask, steps=longest, first=source)
        return self.decode_labels(ids), torch.stack(scores, 1)

    def _greedy(self, model: Any, input_ids: Tensor, mask: Tensor, *, steps: int, first: Any = None) -> Tensor:
        """Decode the answers to sources; ``first``: the model's output for the sources, if it is known."""

        def step(ids: Tensor, cache: Any) -> Any:
            nonlocal mask
            if cache is not None:
                mask = torch.cat([mask, torch.ones_like(ids)], 1)
            return self._step(model, ids, mask, positions(mask)[:, -ids.shape[1] :], cache)

        return decode_greedily(step, input_ids, eos=self.eos, pad=self.eos, steps=steps, first=first)

    def _step(self, model: Any, ids: Tensor, mask: Tensor, place: Tensor, cache: Any, *, logits: int = 1) -> Any:
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": place, CACHE: cache}
        return model(**inputs, use_cache=True, logits_to_keep=logits)


def positions(mask: Tensor) -> Tensor:
    """(B, S): each token's place among its row's own, from 0; 0 at the padding."""
    return (mask.cumsum(-1) - 1).clamp(min=0)
