"""Families of backbones: one file each, which alone knows their models' names, inputs, losses and answers."""

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from krona.backbones.families import decoder, encoder, encoder_decoder
from krona.backbones.families.family import Architecture, Batch, Family
from krona.backbones.families.sizes import Sizes
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
    "Sizes",
    "architecture_named",
    "architecture_of",
    "family_of",
    "places_of",
    "room_of",
]


def family_of(config: Any, what: str) -> type[Family]:
    """The family of a transformers config. Raises KronaError for an architecture that no family has."""
    kind = str(getattr(config, "model_type", "model of no known type"))
    for family, architectures in FAMILIES.items():
        if kind in architectures:
            return family
    known = "; ".join(f"{family.__name__}: {', '.join(names)}" for family, names in FAMILIES.items())
    raise KronaError(
        f"backbone {what} is a {kind}, which no family has ({known}). A new architecture is a few lines of names in "
        "its family's file, src/krona/backbones/families/: see docs/adding-a-backbone.md"
    )


def architecture_of(model: nn.Module) -> Architecture:
    """The names of a model's parts; those of methods themselves for a model that no family has."""
    return architecture_named(getattr(getattr(model, "config", None), "model_type", None))


def architecture_named(kind: str | None) -> Architecture:
    """The names of an architecture by transformers' ``model_type``."""
    found = [architectures[kind] for architectures in FAMILIES.values() if kind is not None and kind in architectures]
    return found[0] if found else Architecture(names={})


def room_of(config: Any) -> int | None:
    """How many tokens a model has positions for; None where they are relative (T5)."""
    positions = getattr(config, "max_position_embeddings", None)
    return None if positions is None else int(positions) - architecture_named(config.model_type).lost_positions


def places_of(model: nn.Module, words: Sequence[str]) -> list[list[str]]:
    """For each word of a method's ``target_modules`` the patterns that name it in this model.

    A word that the architecture has no other name for stays as it is: a method may name modules by their own names.
    """
    names = architecture_of(model).names
    return [list(names.get(word, [word])) for word in words]


def module_names(model: nn.Module) -> list[str]:
    """The names of a model's modules with weights, layers' numbers as #, each once."""
    names = (name for name, module in model.named_modules() if module._parameters)
    return list(dict.fromkeys(re.sub(r"\.\d+(?=\.|$)", ".#", name) for name in names))
