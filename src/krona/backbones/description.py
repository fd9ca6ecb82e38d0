"""What a backbone is, whatever its name: for results, so that a report can tell it from others."""

from typing import Any

from transformers import PreTrainedConfig

SIZES = (  # as the configs of the architectures name them
    "d_model", "d_kv", "d_ff", "num_heads", "num_layers", "num_decoder_layers", "feed_forward_proj",
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "vocab_size", "tie_word_embeddings",
)  # fmt: skip


def describe_backbone(config: PreTrainedConfig, *, parameters: int) -> dict[str, Any]:
    """``architecture``, ``parameters`` and those of the ``sizes`` that its config has, as JSON holds them."""
    sizes = {key: getattr(config, key, None) for key in SIZES}
    known = {key: value for key, value in sizes.items() if isinstance(value, int | str)}
    return {"architecture": config.model_type, "parameters": parameters, "sizes": known}
