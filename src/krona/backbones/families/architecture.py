"""Names of an architecture's modules, read from architectures.yaml, and the translation of a method's targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from krona.backbones.families.pooling import pooled_head


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Names of an architecture's modules.

    Args:
        names: word of a method (a name in T5) → patterns of `krona.surgery.targets` in this architecture.
        head: modules that are new for each task.
        pooler: the pooler of the library's class, if the checkpoint includes it.
        lost_positions: number of the config's positions that no token can have.
    """

    names: Mapping[str, Sequence[str]]
    head: Sequence[str] = ()
    pooler: str | None = None
    lost_positions: int = 0

    def fused_layers(self, words: Sequence[str]) -> list[str]:
        """Return a note for each layer that holds query, key and value in one, of which ``words`` name only a part."""
        parts: dict[str, list[str]] = {}
        for word in ("q", "k", "v"):
            for pattern in self.names.get(word, ()):
                parts.setdefault(pattern, []).append(word)
        notes = []
        for pattern, fused in parts.items():
            named = [word for word in fused if word in words]
            if named and named != fused:
                notes.append(
                    f"{', '.join(fused)} are one layer of this backbone, {pattern}. A branch for "
                    f"{' and '.join(named)} is beside the whole layer."
                )
        return notes


TABLE = Path(__file__).parents[1] / "architectures.yaml"
ARCHITECTURES: dict[str, dict[str, Architecture]] = {  # family → transformers' model_type → names
    family: {kind: Architecture(**values) for kind, values in kinds.items()}
    for family, kinds in yaml.safe_load(TABLE.read_text(encoding="utf-8")).items()
}


def get_architecture(kind: str | None) -> Architecture:
    """Return the names for a ``model_type`` of transformers; for an unknown one, methods name modules directly."""
    found = [kinds[kind] for kinds in ARCHITECTURES.values() if kind is not None and kind in kinds]
    return found[0] if found else Architecture(names={})


def find_architecture(model: nn.Module) -> Architecture:
    """Return the names for a model, with the head that its ``backbone.pooling`` gives it."""
    config = getattr(model, "config", None)
    architecture = get_architecture(getattr(config, "model_type", None))
    return replace(architecture, head=pooled_head(config, architecture.head, architecture.pooler))


def max_positions(config: Any) -> int | None:
    """Return the maximum number of tokens, or None for relative positions (T5)."""
    positions = getattr(config, "max_position_embeddings", None)
    return None if positions is None else int(positions) - get_architecture(config.model_type).lost_positions


def target_patterns(model: nn.Module, words: Sequence[str]) -> dict[str, int]:
    """Return the patterns of a method's ``target_modules`` in this model, each with the index of its first word.

    A word without a translation stays as it is, so that a method can name modules directly.
    """
    names = find_architecture(model).names
    patterns: dict[str, int] = {}
    for index, word in enumerate(words):
        for pattern in names.get(word, [word]):
            patterns.setdefault(pattern, index)
    return patterns
