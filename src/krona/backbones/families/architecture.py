"""The module names and the heads of architectures.

architectures.yaml translates the target modules of a method to the module names of an architecture.

``backbone.pooling`` selects the head of an encoder. The heads of transformers use the state of the first token. BERT
passes this state through its pooler. RoBERTa and MPNet pass this state through a dense layer of their head. If a
checkpoint was trained with another pooling, the first token's state is not a useful input. The classifier of krona's
head reads the first token's state or the mean of all states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from krona.messages import KronaError

KEY = "krona_pooling"  # the key of backbone.pooling in a model's config; krona.adapters.fingerprint also reads it
DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob")  # possible keys of the dropout rate


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The module names of an architecture."""

    names: Mapping[str, Sequence[str]]  # maps T5's module names to patterns (`krona.surgery.target_modules`)
    head: Sequence[str] = ()  # the names of the head's modules; the head is new for each task
    pooler: str | None = None  # the pooler's name in the transformers class, if checkpoints contain a pooler
    lost_positions: int = 0  # the number of position embeddings in the config that are not used for tokens

    def fused_layers(self, words: Sequence[str]) -> list[str]:
        """Return a note if one layer computes q, k and v, and ``words`` contains only some of them.

        A branch for one of these words adapts the whole layer.
        """
        named = [word for word in ("q", "k", "v") if word in words]
        patterns = self.names.get("q")
        if patterns is None or patterns != self.names.get("k") or len(named) not in (1, 2):
            return []
        layer = f"q, k, v are a single layer of this backbone, {patterns[0]}."
        return [f"{layer} A branch for {' and '.join(named)} adapts the whole layer."]

    @property
    def library_pooling(self) -> str:
        """The ``backbone.pooling`` with the classifier of transformers, which every program loads."""
        return "null" if self.pooler is None else "pooler"

    def set_pooling(self, config: PreTrainedConfig, pooling: str | None, *, name: str) -> None:
        """Store ``backbone.pooling`` in a model's config.

        Raises:
            KronaError: the model is not an encoder, or the pooling is ``pooler`` and the model has no pooler.
        """
        config.__dict__.pop(KEY, None)  # the config of an exported model contains this key
        if pooling is None:
            return
        kind = config.model_type
        if not self.head:
            raise KronaError(
                f"backbone.pooling={pooling} is only for encoders, but {name} is a {kind}. Set backbone.pooling=null."
            )
        if pooling == "pooler" and self.pooler is None:
            raise KronaError(
                f"backbone.pooling=pooler is not possible, because the {kind} {name} has no pooler. Use null (the head "
                "of transformers), first or mean."
            )
        setattr(config, KEY, pooling)

    def find_head(self, config: PreTrainedConfig | None) -> Sequence[str]:
        """Return the names of the head's modules in a model with this config."""
        if has_pooled_head(config):
            return ["classifier"]
        if get_pooling(config) == "pooler" and self.pooler is not None:
            return list(dict.fromkeys([self.pooler, *self.head]))
        return self.head


TABLE = Path(__file__).parents[1] / "architectures.yaml"
ARCHITECTURES: dict[str, dict[str, Architecture]] = {  # architectures by family and ``model_type``
    family: {kind: Architecture(**values) for kind, values in kinds.items()}
    for family, kinds in yaml.safe_load(TABLE.read_text(encoding="utf-8")).items()
}


def get_architecture(kind: str | None) -> Architecture:
    """Return the module names for a ``model_type`` of transformers. For an unknown type, the result is empty."""
    found = [kinds[kind] for kinds in ARCHITECTURES.values() if kind is not None and kind in kinds]
    return found[0] if found else Architecture(names={})


def find_architecture(model: nn.Module) -> Architecture:
    """Return the module names for a model. The head depends on the ``backbone.pooling`` of the model."""
    config = getattr(model, "config", None)
    architecture = get_architecture(getattr(config, "model_type", None))
    return replace(architecture, head=architecture.find_head(config))


def max_positions(config: PreTrainedConfig) -> int | None:
    """Return the maximum number of tokens in an input, or None if the model uses relative positions (T5)."""
    positions = getattr(config, "max_position_embeddings", None)
    return None if positions is None else int(positions) - get_architecture(config.model_type).lost_positions


def target_patterns(model: nn.Module, words: Sequence[str]) -> dict[str, int]:
    """Map patterns of module names in this model to indices of ``words``, a method's target_modules.

    Each pattern gets the index of the first word whose translation contains the pattern. A word without a translation
    is used as a pattern, so that a method can also use the model's own module names.
    """
    names = find_architecture(model).names
    patterns: dict[str, int] = {}
    for index, word in enumerate(words):
        for pattern in names.get(word, [word]):
            patterns.setdefault(pattern, index)
    return patterns


def get_pooling(config: PreTrainedConfig | None) -> str | None:
    """Return the ``backbone.pooling`` in a model's config, or None for the head of transformers."""
    pooling: str | None = getattr(config, KEY, None)
    return pooling


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
            pooled = states[:, 0]  # (B, width)
            if get_pooling(self.config) == "mean":
                mask = attention_mask.unsqueeze(-1)  # (B, S, 1)
                pooled = ((states.float() * mask).sum(1) / mask.sum(1)).to(states.dtype)
            return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))

    Pooled.__name__ = Pooled.__qualname__ = f"Pooled{library.__name__}"
    return Pooled
