"""The three families of backbones: encoders, decoders and encoder-decoders.

A family defines how rows become inputs of its models, how the loss is computed, and how labels are predicted.
"""

from collections.abc import Mapping

from transformers import PreTrainedConfig

from krona.backbones.families.architecture import ARCHITECTURES, Architecture
from krona.backbones.families.architecture import find_architecture as find_architecture
from krona.backbones.families.architecture import get_architecture as get_architecture
from krona.backbones.families.architecture import max_positions as max_positions
from krona.backbones.families.architecture import target_patterns as target_patterns
from krona.backbones.families.decoder import Decoder
from krona.backbones.families.encoder import Encoder
from krona.backbones.families.encoder_decoder import EncoderDecoder
from krona.backbones.families.family import Batch as Batch
from krona.backbones.families.family import Family as Family
from krona.messages import KronaError

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
