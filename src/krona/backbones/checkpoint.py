"""Load the weights of a checkpoint, and check that they fit the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from krona.backbones.families import find_architecture, get_architecture
from krona.backbones.families.pooling import has_pooled_head, pooled_class
from krona.backbones.quantisation import quantisation_config
from krona.backbones.weights_source import WAYS_OUT
from krona.config.settings import Backbone
from krona.messages import KronaError, plural
from krona.surgery.layers import is_norm
from krona.tasks import Task
from krona.tasks.hub import download_error


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
    if bf16:
        kind = type(kind.__name__, (kind,), {"_keep_in_fp32_modules_strict": _norm_names(kind, config)})
    arguments: dict[str, Any] = {}
    if settings.quantisation is not None:
        arguments["quantization_config"] = quantisation_config(kind, config)
    try:
        with _quiet_library():
            model, keys = kind.from_pretrained(
                str(settings.folder or settings.name),
                config=config,
                revision=settings.revision,
                dtype=torch.bfloat16 if bf16 else torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **arguments,
            )
    except Exception as error:  # safetensors, json, torch and the Hub raise different exception types
        raise download_error(name, error, WAYS_OUT) from error
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


def _check_keys(name: str, model: PreTrainedModel, keys: dict[str, Any], new: tuple[str, ...]) -> None:
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


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Disable transformers' progress bars and warnings about wrong keys. krona raises errors for these keys."""
    log: Any = transformers_logging  # untyped
    verbosity = log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)


def _norm_names(kind: type[PreTrainedModel], config: PreTrainedConfig) -> set[str]:
    """Return the last name parts of normalisation layers. Most methods train these layers, so they stay in fp32."""
    with torch.device("meta"):
        model = kind(config)
    return {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if is_norm(module)}
