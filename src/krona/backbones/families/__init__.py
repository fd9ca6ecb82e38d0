"""Families of backbones: one file each, which alone knows their models' names, inputs, losses and answers."""

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers import AutoModel

from krona.backbones.families import decoder, encoder, encoder_decoder
from krona.backbones.families.family import Architecture, Batch, Family
from krona.backbones.families.pooling import with_pooling
from krona.messages import KronaError

FAMILIES: MappingProxyType[type[Family], dict[str, Architecture]] = MappingProxyType(
    {
        encoder_decoder.EncoderDecoder: encoder_decoder.ARCHITECTURES,
        decoder.Decoder: decoder.ARCHITECTURES,
        encoder.Encoder: encoder.ARCHITECTURES,
    }
)
__all__ = [
    "FAMILIES",
    "Architecture",
    "Batch",
    "Family",
    "find_architecture",
    "find_family",
    "get_architecture",
    "max_positions",
    "target_patterns",
]


def find_family(config: Any, what: str) -> type[Family]:
    """The family of a transformers config. Raises KronaError for an architecture that no family has."""
    kind = str(getattr(config, "model_type", "model of no known type"))
    for family, architectures in FAMILIES.items():
        if kind in architectures:
            return family
    raise KronaError(
        f"backbone {what}: no file of src/krona/backbones/families has the architecture {kind!r}. A few lines of names "
        f"add it: docs/adding-a-backbone.md.{_modules_of(config)}"
    )


def _modules_of(config: Any) -> str:
    """Names of an unknown architecture's modules with weights, a layer's number as #; nothing if it can't be built."""
    auto: Any = AutoModel  # untyped
    try:
        with torch.device("meta"):
            model = auto.from_config(config)
    except Exception:  # each architecture raises its own: the error then only lacks the names
        return ""
    names = (re.sub(r"\.\d+(?=\.|$)", ".#", name) for name, module in model.named_modules() if module._parameters)
    return f" Its modules with weights: {', '.join(dict.fromkeys(names))}"


def find_architecture(model: nn.Module) -> Architecture:
    """The names of a model's parts; those of methods themselves for a model that no family has."""
    config = getattr(model, "config", None)
    return with_pooling(get_architecture(getattr(config, "model_type", None)), config)


def get_architecture(kind: str | None) -> Architecture:
    """The names of an architecture by transformers' ``model_type``."""
    found = [architectures[kind] for architectures in FAMILIES.values() if kind is not None and kind in architectures]
    return found[0] if found else Architecture(names={})


def max_positions(config: Any) -> int | None:
    """How many tokens a model has positions for; None where they are relative (T5)."""
    positions = getattr(config, "max_position_embeddings", None)
    return None if positions is None else int(positions) - get_architecture(config.model_type).lost_positions


def target_patterns(model: nn.Module, words: Sequence[str]) -> dict[str, int]:
    """The patterns that name a method's ``target_modules`` in this model, each with the number of its first word.

    A word that the architecture has no other name for stays as it is: a method may name modules by their own names.
    """
    names = find_architecture(model).names
    places: dict[str, int] = {}
    for number, word in enumerate(words):
        for pattern in names.get(word, [word]):
            places.setdefault(pattern, number)
    return places
