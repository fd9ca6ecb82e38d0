"""Load the linear layers of a backbone in 4 bits (``backbone.quantisation: nf4``) with bitsandbytes."""

import logging
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from krona.messages import KronaError, install_command


def require_library() -> None:
    """Check that the libraries for nf4 are installed.

    Raises:
        KronaError: a library was not found.
    """
    if missing := [name for name in ("bitsandbytes", "accelerate") if find_spec(name) is None]:
        raise KronaError(
            f"backbone.quantisation=nf4 needs {' and '.join(missing)}. Run: {install_command('quantised')}"
        )


def quantisation_config(kind: Any, config: PreTrainedConfig) -> Any:
    """Return the config with which transformers loads linear layers in 4 bits. Heads and output layers stay in fp32.

    Args:
        kind: the class of the model.
    """
    require_library()
    from transformers import BitsAndBytesConfig

    from krona.backbones.families import find_architecture  # imports transformers, which config checks avoid

    build: Any = BitsAndBytesConfig  # untyped
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # bitsandbytes warns about an optional package at import
    with torch.device("meta"):
        model = kind(config)
    output = model.get_output_embeddings()
    output_names = [name for name, module in model.named_modules() if output is not None and module is output]
    unquantised = [*output_names, *_layers_with_wrong_dequantisation(model), *find_architecture(model).head]
    return build(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=unquantised or None,
    )


def _layers_with_wrong_dequantisation(model: nn.Module) -> list[str]:
    """Return the names of the linear layers whose weight bitsandbytes 0.50 dequantises wrongly on a CPU.

    They are not quantised on any device, so that an adapter fits the backbone on all devices.
    """
    return [name for name, m in model.named_modules() if isinstance(m, nn.Linear) and m.in_features % 64 == 32]


def prevent_repacking(model: Any) -> None:
    """Let quantised layers keep their format on a CPU with AVX512-BF16.

    Otherwise, the first evaluation would convert each weight. After the conversion, no gradient passes through the
    layer, and the dequantised weight is wrong (bitsandbytes 0.50).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
