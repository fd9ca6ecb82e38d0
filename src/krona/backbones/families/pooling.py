"""Heads of encoders that classify by the first token's state or by the mean of all (``backbone.pooling``).

The library's classes read the first token: BERT's through its pooler, RoBERTa's and MPNet's through a dense layer of
their head. A checkpoint that was trained with another pooling has no useful first token.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from krona.messages import KronaError

KEY = "krona_pooling"  # in the model's config; krona.adapters.fingerprint reads it too
DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob")  # names of the rate in configs


def get_pooling(config: Any) -> str | None:
    """Return ``backbone.pooling`` from a model's config; None is the library's own head."""
    pooling = getattr(config, KEY, None)
    return None if pooling is None else str(pooling)


def has_pooled_head(config: Any) -> bool:
    """Return whether krona's head replaces the library's."""
    return get_pooling(config) in ("first", "mean")


def set_pooling(config: Any, pooling: str | None, *, head: Sequence[str], pooler: str | None, name: str) -> None:
    """Write the pooling into a model's config. Raises KronaError if an architecture of this head does not have it."""
    config.__dict__.pop(KEY, None)  # of an exported model
    if pooling is None:
        return
    kind = config.model_type
    if not head:
        raise KronaError(
            f"backbone.pooling={pooling}: only encoders have a pooling, and {name} is a {kind}. Set it to null."
        )
    if pooling == "pooler" and pooler is None:
        raise KronaError(
            f"backbone.pooling=pooler: the {kind} {name} has no pooler. Use null (the library's head), first or mean."
        )
    setattr(config, KEY, pooling)


def pooled_head(config: Any, head: Sequence[str], pooler: str | None) -> list[str]:
    """Return the modules that are new for each task in a model of this config."""
    if has_pooled_head(config):
        return ["classifier"]
    if get_pooling(config) == "pooler" and pooler is not None:
        return list(dict.fromkeys([pooler, *head]))
    return list(head)


@cache
def pooled_class(library: Any, head: tuple[str, ...]) -> Any:
    """Return the library's class with the head ``classifier(dropout(pooled states))``.

    The modules of the library's ``head`` and the pooler are removed, so that they neither train nor count.
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
            pooled = states[:, 0] if get_pooling(self.config) == "first" else mean_state(states, attention_mask)
            return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))

    Pooled.__name__ = Pooled.__qualname__ = f"Pooled{library.__name__}"
    return Pooled


def mean_state(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean over each row's own tokens, (B, width), of states (B, S, width); summed in fp32."""
    mask = attention_mask.unsqueeze(-1)  # (B, S, 1)
    return ((states.float() * mask).sum(1) / mask.sum(1)).to(states.dtype)
