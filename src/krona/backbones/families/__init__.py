"""The three families of backbones: encoders, decoders and encoder-decoders.

A family defines how rows become inputs of its models, how the loss is computed, and how labels are predicted.
"""

from collections.abc import Mapping

from transformers import PreTrainedConfig

from krona.backbones.families.architecture import (
    ARCHITECTURES,
    Architecture,
    find_architecture,
    get_architecture,
    max_positions,
    target_patterns,
)
from krona.backbones.families.decoder import Decoder
from krona.backbones.families.encoder import Encoder
from krona.backbones.families.encoder_decoder import EncoderDecoder
from krona.backbones.families.family import Batch, Family
from krona.messages import KronaError

__all__ = [
    "Architecture", "Batch", "Family", "find_architecture", "get_architecture", "max_positions", "target_patterns",
]  # fmt: skip

FAMILIES: Mapping[type[Family], dict[str, Architecture]] = {
    EncoderDecoder: ARCHITECTURES["encoder_decoder"],
    Decoder: ARCHITECTURES["decoder"],
    Encoder: ARCHITECTURES["encoder"],
}


def find_family(config: PreTrainedConfig, name: str) -> type[Family]:
    """Return the family of a model.

    Raises:
        KronaError: the architecture is unknown.
    """
    kind = str(getattr(config, "model_type", "without a model_type"))
    for family, architectures in FAMILIES.items():
        if kind in architectures:
            return family
    raise KronaError(
        f"Backbone {name} has the architecture {kind!r}, which krona does not support yet. Add its module names to "
        f"src/krona/backbones/architectures.yaml (docs/adding-a-backbone.md)."
    )
