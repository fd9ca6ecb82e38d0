"""Replace an encoder's head, so that the classifier's input is the first token's state or the mean of all states.

``backbone.pooling`` selects the head. The heads of transformers use the state of the first token. BERT passes
this state through its pooler. RoBERTa and MPNet pass this state through a dense layer of their head. If a checkpoint
was trained with another pooling, the first token's state is not a useful input.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

KEY = "krona_pooling"  # the key of backbone.pooling in a model's config; krona.adapters.fingerprint also reads it
DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob")  # possible keys of the dropout rate


def get_pooling(config: PreTrainedConfig | None) -> str | None:
    """Return the ``backbone.pooling`` in a model's config, or None for the head of transformers."""
    pooling = getattr(config, KEY, None)
    return None if pooling is None else str(pooling)


def has_pooled_head(config: PreTrainedConfig | None) -> bool:
    """Return whether krona's head replaces the head of transformers."""
    return get_pooling(config) in ("first", "mean")


@cache
def pooled_class(library: Any, head: tuple[str, ...]) -> type[PreTrainedModel]:
    """Return a subclass of a transformers model class, with the head ``classifier(dropout(pooled states))``.

    The modules in ``head`` and the pooler are removed, so that they are neither trained nor counted.
    """

    class Pooled(library):  # type: ignore[misc]
        def __init__(self, config: PreTrainedConfig) -> None:
            super().__init__(config)
            for name in head:
                delattr(self, name)
            if getattr(self.base_model, "pooler", None) is not None:
                self.base_model.pooler = None
            rates = (getattr(config, name, None) for name in DROPOUTS)
            self.dropout = nn.Dropout(next((rate for rate in rates if rate is not None), 0.0))
            self.classifier = nn.Linear(self.config.hidden_size, self.config.num_labels)
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
    """Return the mean (B, width) of the states (B, S, width) of each row's tokens, summed in fp32."""
    mask = attention_mask.unsqueeze(-1)  # (B, S, 1)
    return ((states.float() * mask).sum(1) / mask.sum(1)).to(states.dtype)
