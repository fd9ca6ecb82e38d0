"""Translate the target modules of a method to the module names of an architecture, with architectures.yaml."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from torch import nn
from transformers import PreTrainedConfig

from krona.backbones.families.pooling import KEY, get_pooling, has_pooled_head
from krona.messages import KronaError


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
