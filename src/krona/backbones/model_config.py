"""Read the model config of a backbone from its checkpoint, or build the config from ``backbone.sizes``."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from krona.backbones.families import FAMILIES, find_family, get_architecture
from krona.backbones.weights_source import WAYS_OUT
from krona.config.settings import Backbone
from krona.messages import KronaError, did_you_mean, unknown_key
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
