"""Encoders (BERT, RoBERTa, DeBERTa, MPNet, ModernBERT): the task's texts, and a head that classifies or rates them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from krona.backbones.families.family import (
    IGNORED,
    Architecture,
    Batch,
    Family,
    padded,
    padded_sources,
    summed_cross_entropy,
    truncation_arguments,
)
from krona.tasks import Split

BERT_LAYER = {
    "o": ["attention.output.dense"],
    "DenseReluDense": ["intermediate.dense:output.dense"],
    "wi*": ["intermediate.dense"],
    "wo": ["layer.#.output.dense"],
    "layer_norm": ["LayerNorm"],
    "lm_head": [],  # the head trains in any case
}
BERT_NAMES = {
    **BERT_LAYER,
    "q": ["self.query"],
    "k": ["self.key"],
    "v": ["self.value"],
    "SelfAttention": ["attention.self.query:attention.output.dense"],
}
BERT = Architecture(names=BERT_NAMES, head=["classifier"], pooler="bert.pooler")
ELECTRA = Architecture(names=BERT_NAMES, head=["classifier"])
MPNET = Architecture(
    names={
        **BERT_LAYER,
        "q": ["attn.q"],
        "k": ["attn.k"],
        "v": ["attn.v"],
        "o": ["attn.o"],
        "SelfAttention": ["attention.attn.q:attention.attn.o"],
    },
    head=["classifier"],
    lost_positions=2,
)
ROBERTA = Architecture(names=BERT_NAMES, head=["classifier"], lost_positions=2)
DEBERTA = Architecture(
    names={
        **BERT_LAYER,
        "q": ["query_proj"],
        "k": ["key_proj"],
        "v": ["value_proj"],
        "SelfAttention": ["attention.self.value_proj:attention.output.dense"],  # query_proj also reads positions
    },
    head=["pooler", "classifier"],
)
DISTILBERT = Architecture(
    names={
        "q": ["q_lin"],
        "k": ["k_lin"],
        "v": ["v_lin"],
        "o": ["out_lin"],
        "SelfAttention": ["attention.q_lin:attention.out_lin"],
        "DenseReluDense": ["ffn.lin1:ffn.lin2"],
        "wi*": ["lin1"],
        "wo": ["lin2"],
        "layer_norm": ["LayerNorm", "sa_layer_norm", "output_layer_norm"],
        "lm_head": [],
    },
    head=["pre_classifier", "classifier"],
)
MODERNBERT = Architecture(
    names={
        "q": ["Wqkv"],
        "k": ["Wqkv"],
        "v": ["Wqkv"],
        "o": ["attn.Wo"],
        "SelfAttention": ["attn.Wqkv:attn.Wo"],
        "DenseReluDense": ["mlp.Wi:mlp.Wo"],
        "wi*": ["Wi"],
        "wo": ["mlp.Wo"],
        "layer_norm": ["attn_norm", "mlp_norm", "embeddings.norm"],
        "lm_head": [],
    },
    head=["head", "classifier"],
)
ARCHITECTURES = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "electra": ELECTRA,
    "mpnet": MPNET,
    "deberta-v2": DEBERTA,
    "distilbert": DISTILBERT,
    "modernbert": MODERNBERT,
}


class Encoder(Family):
    """Cross entropy of the head's classes, or the squared error of its number; the answer is the likeliest class."""

    auto = AutoModelForSequenceClassification
    writes = False

    def __init__(self, task: Any, tokenizer: Any) -> None:
        super().__init__(task, tokenizer)
        self.targets: list[str] | None = task.target_strings()
        self.label_type = "float32" if self.targets is None else "int32"
        self.key = f"encoder 1 {','.join(self.targets or ['number'])}"

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        texts = [[split.texts[row][i] for row in rows] for i in range(len(self.task.columns))]
        return dict(self.tokenizer(*texts, return_attention_mask=False, **truncation_arguments(longest)))

    def label(self, target: str) -> list[Any]:
        return [float(target)] if self.targets is None else [self.targets.index(target)]

    def collate(self, rows: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
        kind = torch.float32 if self.targets is None else torch.long
        labels = padded([row["labels"] for row in rows], 0, dtype=kind)  # (B, 1)
        batch = {**padded_sources(rows, self.tokenizer.pad_token_id), "labels": labels}
        if rows and "token_type_ids" in rows[0]:
            batch["token_type_ids"] = padded([row["token_type_ids"] for row in rows], 0)
        return batch

    def inputs(self, model: Any, batch: Batch) -> dict[str, Any]:
        return {name: values for name, values in batch.items() if name != "labels"}

    def summed_loss(self, model: Any, batch: Batch) -> Tensor:
        logits, labels = self._logits(model, batch), batch["labels"].flatten()
        if self.targets is None:
            counted = labels != IGNORED
            return ((logits.flatten() - labels)[counted] ** 2).sum()
        return summed_cross_entropy(logits, labels)

    @torch.no_grad()
    def answers(self, model: Any, batch: Batch, *, longest: int) -> list[str]:
        return self.decode_labels(self._logits(model, batch))

    @torch.no_grad()
    def predict_with_scores(
        self, model: Any, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        logits = self._logits(model, batch)
        places = [self.targets.index(target) for target in targets] if self.targets is not None else []
        return self.decode_labels(logits), logits.log_softmax(-1)[:, places]

    def decode_labels(self, logits: Tensor) -> list[str]:
        if self.targets is None:
            return [f"{value:.4f}" for value in logits.flatten().tolist()]
        return [self.targets[place] for place in logits.argmax(-1).tolist()]

    def check_targets(self, targets: Sequence[str], *, source: str) -> None:
        """Every target is a class."""

    def _logits(self, model: Any, batch: Batch) -> Tensor:
        """(B, classes) in fp32."""
        logits: Tensor = model(**self.inputs(model, batch)).logits
        return logits.float()
