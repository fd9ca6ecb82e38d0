"""Heads of encoders that classify by the first token's state or by the mean of all (``backbone.pooling``).

The library's classes read the first token: BERT's through its pooler, RoBERTa's and MPNet's through a dense layer of
their head. A checkpoint that was trained with another pooling has no useful first token.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from krona.backbones.families.family import Architecture
from krona.messages import KronaError

KEY = "krona_pooling"  # of the model's config; krona.adapters.fingerprint reads it too
DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob")  # names of the rate in configs


def pooling_in(config: Any) -> str | None:
    """Return ``backbone.pooling`` of a model's config; None: the library's own head."""
    found = getattr(config, KEY, None)
    return None if found is None else str(found)


def pools(config: Any) -> bool:
    """Return whether krona's own head replaces the library's."""
    return pooling_in(config) in ("first", "mean")


def set_pooling(config: Any, pooling: str | None, architecture: Architecture, what: str) -> None:
    """Write the pooling into a model's config. Raises KronaError where the architecture does not have it."""
    config.__dict__.pop(KEY, None)  # of an export
    if pooling is None:
        return
    kind = config.model_type
    if not architecture.head:
        raise KronaError(
            f"backbone.pooling={pooling}: only encoders have a pooling, and {what} is a {kind}. Set it to null."
        )
    if pooling == "pooler" and architecture.pooler is None:
        raise KronaError(
            f"backbone.pooling=pooler: the {kind} {what} has no pooler. Use null (the library's head), first or mean."
        )
    setattr(config, KEY, pooling)


def with_pooling(architecture: Architecture, config: Any) -> Architecture:
    """Return the architecture with the head that a model of this config has."""
    if pools(config):
        return replace(architecture, head=["classifier"], pooler=None)
    if pooling_in(config) == "pooler" and architecture.pooler is not None:
        return replace(architecture, head=list(dict.fromkeys([architecture.pooler, *architecture.head])))
    return architecture


@cache
def pooled_class(library: Any, head: tuple[str, ...]) -> Any:
    """Return the library's class with the head ``classifier(dropout(pooled states))``.

    The modules of the library's ``head`` and the pooler are taken out, so that they neither train nor count.
    """

    class Pooled(library):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            for name in head:
                delattr(self, name)
            if getattr(self.base_model, "pooler", None) is not None:
                self.base_model.pooler = None
            rates = (getattr(config, name, None) for name in DROPOUTS)
            self.dropout = nn.Dropout(next((rate for rate in rates if rate is not None), 0.0))
            self.classifier = nn.Linear(config.hidden_size, config.num_labels)
            self._init_weights(self.classifier)

        def forward(
            self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Any
        ) -> SequenceClassifierOutput:
            attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            states = self.base_model(input_ids, attention_mask=attention_mask, **others).last_hidden_state
            pooled = states[:, 0] if pooling_in(self.config) == "first" else mean_state(states, attention_mask)
            return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))

    Pooled.__name__ = Pooled.__qualname__ = f"Pooled{library.__name__}"
    return Pooled


def mean_state(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean over a row's own tokens: states (B, S, width), mask (B, S) → (B, width); summed in fp32."""
    mask = attention_mask.unsqueeze(-1)  # (B, S, 1)
    return ((states.float() * mask).sum(1) / mask.sum(1)).to(states.dtype)
