"""The config of a backbone: the checkpoint's own, or one made of its YAML's sizes; checked against each other."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from krona.backbones.families import FAMILIES, find_family, get_architecture
from krona.backbones.families.pooling import set_pooling
from krona.backbones.source import WAYS_OUT, find_folder, gguf_arguments, needs_hub
from krona.config.pooling import folder_pooling
from krona.config.settings import Backbone
from krona.messages import KronaError, did_you_mean
from krona.tasks import Task
from krona.tasks.hub import download_error, offline, unreachable


def model_name(settings: Backbone) -> str:
    return settings.path or settings.name


def has_head(settings: Backbone) -> bool:
    """Whether the backbone gets a head that is new on each task."""
    with hub_or_cache_only(settings):
        config = build_config(settings, find_folder(settings), None)
    return bool(get_architecture(config.model_type).head)


def num_outputs(task: Task) -> int:
    """How many outputs a head has for a task: its classes, or one number."""
    targets = task.target_strings()
    return 1 if targets is None else len(targets)


def build_config(settings: Backbone, folder: Path | None, task: Task | None, *, own: bool = False) -> Any:
    """The config with the task's number of classes. own: the checkpoint's, never one made of ``sizes``."""
    of_sizes = settings.sizes is not None and folder is None and not own
    config = _of_sizes(settings) if of_sizes else _read(settings, folder)
    kind = getattr(config, "model_type", None)
    if settings.architecture is not None and kind != settings.architecture:
        raise KronaError(
            f"backbone {model_name(settings)} is a {kind}, and backbone.architecture says {settings.architecture}: "
            "take backbone=local, or the YAML of that architecture"
        )
    find_family(config, model_name(settings))
    _check_sizes(settings, config)
    set_pooling(config, _pooling(settings), get_architecture(config.model_type), model_name(settings))
    if task is not None:
        config.num_labels = num_outputs(task)
    return config


def _pooling(settings: Backbone) -> str | None:
    return folder_pooling(settings.path) if settings.pooling == "auto" else settings.pooling


def _check_sizes(settings: Backbone, config: Any) -> None:
    """Raise KronaError for a model of another size than its YAML says: it would be reported under a wrong name."""
    if settings.path is None or settings.sizes is None:
        return
    wanted: dict[str, Any] = {"architecture": settings.architecture or "t5", **settings.sizes}
    found = {key: getattr(config, "model_type" if key == "architecture" else key, None) for key in wanted}
    wrong = [
        f"{key} {found[key]}, not {value}"
        for key, value in wanted.items()
        if found[key] != value and isinstance(value, int | str) and key not in ("vocab_size", "feed_forward_proj")
    ]
    if wrong:
        raise KronaError(
            f"backbone.path={settings.path}: this is not {settings.name} as its YAML describes it: "
            f"{', '.join(wrong)}. For another model: backbone=local backbone.path={settings.path}"
        )


def _of_sizes(settings: Backbone) -> Any:
    kind = settings.architecture or "t5"
    known = [name for architectures in FAMILIES.values() for name in architectures]
    if kind not in known:
        raise KronaError(f"backbone.architecture={kind}: {did_you_mean(kind, known)}")
    sizes: dict[str, Any] = dict(settings.sizes or {})
    if kind == "t5":
        sizes = {"decoder_start_token_id": 0, "tie_word_embeddings": settings.tied_head is not False, **sizes}
    try:
        return AutoConfig.for_model(kind, **sizes)
    except Exception as error:  # its validation raises kinds of its own
        raise KronaError(f"backbone.sizes={sizes}: {error}") from error


def _read(settings: Backbone, folder: Path | None) -> Any:
    try:
        return AutoConfig.from_pretrained(
            hub_name_or_folder(settings, folder),
            revision=settings.revision,
            trust_remote_code=False,  # null: the library asks at the terminal
            **gguf_arguments(settings),
        )
    except Exception as error:  # JSON, the Hub and its client each raise their own
        raise download_error(f"the config of {model_name(settings)}", error, WAYS_OUT) from error


def hub_name_or_folder(settings: Backbone, folder: Path | None) -> str:
    return settings.name if folder is None else str(folder)


def hub_or_cache_only(settings: Backbone) -> AbstractContextManager[Any]:
    """Only the cache if the Hub can't be reached: the libraries' retries would take half a minute."""
    return offline() if needs_hub(settings) and unreachable() is not None else nullcontext()
