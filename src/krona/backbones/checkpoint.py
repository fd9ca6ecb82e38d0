"""Read the config and the weights of a checkpoint, and check that they fit the settings and the model.

The config of a backbone without a checkpoint is built from ``backbone.sizes``. With ``backbone.quantisation: nf4``,
bitsandbytes stores the linear layers in 4 bits.
"""

# mypy: allow-untyped-calls

import logging
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as logs

from krona.backbones.families import FAMILIES, find_architecture, find_family, get_architecture
from krona.backbones.families.architecture import has_pooled_head, pooled_class
from krona.backbones.weights_source import WAYS_OUT, require_quantisation
from krona.config.settings import Backbone
from krona.messages import KronaError, did_you_mean, plural, unknown_key
from krona.surgery.layers import is_norm
from krona.tasks import Task
from krona.tasks.hub import download_error, offline, unreachable

SIZES = (  # the keys of model configs that `describe_backbone` returns
    "d_model", "d_kv", "d_ff", "num_heads", "num_layers", "num_decoder_layers", "feed_forward_proj",
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "vocab_size", "tie_word_embeddings",
)  # fmt: skip
UNDECLARED = (  # keys that models read, but that the config classes of transformers do not define
    "decoder_start_token_id", "position_buckets", "norm_rel_ebd", "share_att_key", "conv_kernel_size", "conv_act",
    "attention_head_size",
)  # fmt: skip


def build_config(settings: Backbone, task: Task | None, *, own: bool = False) -> PreTrainedConfig:
    """Return the model's config, with the backbone's pooling and, for a task, its number of classes.

    Args:
        own: use the config of the checkpoint, even if the setting ``sizes`` is given.

    Raises:
        KronaError: the config cannot be read or is invalid, its architecture is unknown, or its architecture, sizes or
            pooling do not match the settings.
    """
    from_sizes = settings.sizes is not None and settings.folder is None and not own
    config = _config_from_sizes(settings) if from_sizes else _read_config(settings)
    name, kind = settings.name_or_path, getattr(config, "model_type", None)
    if settings.architecture is not None and kind != settings.architecture:
        raise KronaError(
            f"Backbone {name} is a {kind}, but backbone.architecture is {settings.architecture}. Use backbone=local, "
            f"or a backbone file with architecture: {kind}."
        )
    find_family(config, name)
    if not from_sizes:
        _check_sizes(settings, config)
    get_architecture(kind).set_pooling(config, settings.pooling, name=name)
    if task is not None:
        config.num_labels = num_outputs(task)
        if task.is_multilabel:
            config.problem_type = "multi_label_classification"  # for transformers, which may load a merged export
    return config


def num_outputs(task: Task) -> int:
    """Return the number of outputs of a task's head: the number of classes, or 1 for a regression."""
    targets = task.target_strings()
    return 1 if targets is None else len(targets)


def describe_backbone(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the architecture and the sizes, so that a report can distinguish backbones of the same name."""
    sizes = {key: getattr(config, key, None) for key in SIZES}
    known = {key: value for key, value in sizes.items() if isinstance(value, int | str)}
    return {"architecture": config.model_type, "sizes": known}


def hub_or_cache_only(settings: Backbone) -> AbstractContextManager[Any]:
    """Return a context that uses only the local cache if the Hub is unreachable, without a wait of 30 s."""
    return offline() if settings.needs_hub and unreachable() is not None else nullcontext()


def load_checkpoint(
    settings: Backbone, kind: Any, config: PreTrainedConfig, task: Task, *, bf16: bool
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """Load a checkpoint. Return the model, and the names of the head weights that are not in the checkpoint.

    Args:
        kind: the class of the model.
        bf16: store normalisation layers in fp32, and all other weights in bf16. If false, store all weights in fp32.

    Raises:
        KronaError: a download failed, a file cannot be read, the weights do not fit the model, or the head and the task
            have different numbers of classes.
    """
    name = f"the weights of {settings.name_or_path}"
    quantisation = {}
    if bf16 or settings.quantisation is not None:  # not both
        with torch.device("meta"):
            bare = kind(config)
        if bf16:  # most methods train the normalisation layers
            norms = {name.rsplit(".", 1)[-1] for name, module in bare.named_modules() if is_norm(module)}
            kind = type(kind.__name__, (kind,), {"_keep_in_fp32_modules_strict": norms})
        else:
            quantisation["quantization_config"] = quantisation_config(bare)
    verbosity = logs.get_verbosity()
    logs.disable_progress_bar()
    logs.set_verbosity_error()  # krona itself raises errors for wrong keys
    try:
        model, keys = kind.from_pretrained(
            str(settings.folder or settings.name),
            config=config,
            revision=settings.revision,
            dtype=torch.bfloat16 if bf16 else torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **quantisation,
        )
    except Exception as error:  # safetensors, json, torch and the Hub raise different exception types
        raise download_error(name, error, WAYS_OUT) from error
    finally:
        logs.set_verbosity(verbosity)
    assert isinstance(model, PreTrainedModel)
    heads = tuple(f"{head}." for head in find_architecture(model).head)
    missing = keys["missing_keys"]
    new = tuple(key for key, _ in model.named_parameters() if key in missing and key.startswith(heads))
    for key, found, needed in keys["mismatched_keys"]:
        if heads and key.startswith(heads):
            raise KronaError(
                f"The head in {name} has {found[0]} outputs, but task {task.name} needs {needed[0]} ({key}). Save the "
                "model without its head (model.base_model.save_pretrained(FOLDER)). krona then initialises a new head."
            )
    _check_keys(name, model, {kind: keys[f"{kind}_keys"] for kind in ("missing", "unexpected", "mismatched")}, new)
    return model, new


def model_class(auto: Any, config: PreTrainedConfig) -> type[PreTrainedModel]:
    """Return the transformers model class or, if the pooling is first or mean, its subclass with krona's head."""
    library = auto._model_mapping[type(config)]
    head = tuple(get_architecture(config.model_type).head)
    model_type: type[PreTrainedModel] = pooled_class(library, head) if has_pooled_head(config) else library
    return model_type


def quantisation_config(model: PreTrainedModel) -> BitsAndBytesConfig:
    """Return the config with which transformers loads linear layers in 4 bits. Heads and output layers stay in fp32.

    bitsandbytes 0.50 dequantises layers of some widths wrongly on a CPU. They are not quantised on any device, so that
    an adapter fits the backbone on all devices.
    """
    require_quantisation()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # bitsandbytes warns about an optional package at import
    output = model.get_output_embeddings()
    unquantised = [*find_architecture(model).head]
    for name, module in model.named_modules():
        if module is output or (isinstance(module, nn.Linear) and module.in_features % 64 == 32):
            unquantised.append(name)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=unquantised or None,
    )


def prevent_repacking(model: Any) -> None:
    """Let quantised layers keep their format on a CPU with AVX512-BF16.

    Otherwise, the first evaluation would convert each weight. After the conversion, no gradient passes through the
    layer, and the dequantised weight is wrong (bitsandbytes 0.50).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _check_keys(name: str, model: PreTrainedModel, keys: Mapping[str, Collection[Any]], new: tuple[str, ...]) -> None:
    """Check that the weights of a checkpoint fit the model.

    Raises:
        KronaError: the model has a weight that the checkpoint lacks (except ``new``), the checkpoint has a weight that
            the model lacks, or a weight has a wrong shape.
    """
    is_encoder = bool(find_architecture(model).head)
    base = f"{model.base_model_prefix}."
    pooler = f"{base}pooler."
    for problem, found in keys.items():
        names = sorted(key if isinstance(key, str) else str(key[0]) for key in found)
        if is_encoder and problem == "missing" and any(key.startswith(pooler) for key in names):
            raise KronaError(f"The pooler is missing from {name}. Set backbone.pooling to mean or first.")
        if is_encoder and problem == "unexpected":  # the checkpoint may contain another head
            names = [key for key in names if key.startswith(base) and not key.startswith(pooler)]
        names = [key for key in names if key not in new]
        if names:
            kind = type(model).__name__
            raise KronaError(
                f"A {kind} with this config cannot load {name}: {plural(len(names), f'{problem} tensor')} "
                f"(first {names[0]}). Save the checkpoint again with {kind}.save_pretrained."
            )


def _check_sizes(settings: Backbone, config: PreTrainedConfig) -> None:
    """Check that a model in a folder has the architecture and the sizes of the backbone's settings.

    Raises:
        KronaError: the architecture or a size (except the vocabulary size) differs.
    """
    if settings.path is None or settings.sizes is None:
        return
    wanted: dict[str, Any] = {"architecture": settings.architecture or "t5", **settings.sizes}
    found = {key: getattr(config, "model_type" if key == "architecture" else key, None) for key in wanted}
    wrong = [
        f"{key} is {found[key]}, not {value}"
        for key, value in wanted.items()
        if found[key] != value and isinstance(value, int | str) and key not in ("vocab_size", "feed_forward_proj")
    ]
    if wrong:
        raise KronaError(
            f"The checkpoint {settings.name_or_path} is not {settings.name}, because it differs from backbone.sizes: "
            f"{', '.join(wrong)}. To use this model, set backbone=local backbone.path={settings.path}."
        )


def _config_from_sizes(settings: Backbone) -> PreTrainedConfig:
    kind = settings.architecture or "t5"
    known = [name for architectures in FAMILIES.values() for name in architectures]
    if kind not in known:
        raise KronaError(f"backbone.architecture={kind}: {did_you_mean(kind, known)}")
    sizes: dict[str, Any] = dict(settings.sizes or {})
    if kind == "t5":
        sizes = {"decoder_start_token_id": 0, "tie_word_embeddings": settings.tied_head is not False, **sizes}
    try:
        config = AutoConfig.for_model(kind, **sizes)
    except Exception as error:  # the configs of transformers raise different exception types
        raise KronaError(f"backbone.sizes={sizes}: {error}") from error
    default = AutoConfig.for_model(kind)
    for key in settings.sizes or ():  # transformers accepts any key
        if not hasattr(default, key) and key not in UNDECLARED:
            raise KronaError(unknown_key(f"backbone.sizes.{key}", default.to_dict()))
    return config


def _read_config(settings: Backbone) -> PreTrainedConfig:
    name = str(settings.folder or settings.name)
    try:
        values, _ = PreTrainedConfig.get_config_dict(name, revision=settings.revision)
        if "krona_pooling" in values and "encoder_type" in values:  # exported with a pooling (krona_pooled)
            config: PreTrainedConfig = AutoConfig.for_model(values["encoder_type"], **values["encoder"])
        else:
            config = AutoConfig.from_pretrained(
                name,
                revision=settings.revision,
                trust_remote_code=False,  # with None, transformers may ask whether to run remote code
            )
        return config
    except Exception as error:  # JSON, the Hub and its client raise different exception types
        raise download_error(f"the config of {settings.name_or_path}", error, WAYS_OUT) from error
