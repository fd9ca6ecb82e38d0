"""An encoder whose classifier reads the first token's state or the mean of all states.

krona copies this file into exported models, so it needs only torch and transformers. Load such a model with
``AutoModelForSequenceClassification.from_pretrained(FOLDER, trust_remote_code=True)``.
"""

# mypy: allow-untyped-calls

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class PooledConfig(PreTrainedConfig):
    """The labels, the ``krona_pooling``, and the ``encoder_type`` and ``encoder``: the encoder's own config."""

    model_type = "krona_pooled"  # transformers does not know this type, so it cannot load the model with a wrong head


class PooledForSequenceClassification(PreTrainedModel):
    """The encoder and a linear classifier. The encoder is the attribute ``encoder_name``, such as ``bert``."""

    config_class = PooledConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        encoder: Any = AutoModel.from_config(AutoConfig.for_model(config.encoder_type, **config.encoder))
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None
        self.add_module(config.encoder_name, encoder)
        width = encoder.config.hidden_size  # an encoder's own config may store this value under another key
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **inputs: Any
    ) -> SequenceClassifierOutput:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        encoder = getattr(self, self.config.encoder_name)
        states = encoder(input_ids, attention_mask=mask, **inputs).last_hidden_state  # (B, S, width)
        if self.config.krona_pooling == "first":
            return SequenceClassifierOutput(logits=self.classifier(states[:, 0]))
        sums = (states.float() * mask.unsqueeze(-1)).sum(1)
        return SequenceClassifierOutput(logits=self.classifier((sums / mask.sum(1, keepdim=True)).to(states.dtype)))
