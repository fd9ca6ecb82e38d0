"""Loading of a backbone and its tokenizer: from the Hub, a folder or the package (nano), or with random weights."""

from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from krona.backbones.families import Family, find_architecture, find_family, get_architecture
from krona.backbones.families.pooling import pooled_class, pools
from krona.backbones.model_config import build_config, hub_name_or_folder, hub_or_cache_only, model_name
from krona.backbones.source import WAYS_OUT, find_folder, gguf_arguments, require_folders
from krona.backbones.tokenizer import load_tokenizer
from krona.config.settings import Backbone
from krona.messages import KronaError, amount
from krona.surgery.layers import is_norm
from krona.tasks import Task
from krona.tasks.hub import download_error


@dataclass(frozen=True)
class Loaded:
    """A model, and what reads its task. new_weights: names of the head's weights that no checkpoint has."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: Family
    new_weights: tuple[str, ...] = ()


def load(settings: Backbone, task: Task, *, seed: int, bf16: bool = False) -> Loaded:
    """Load a backbone, tensor by tensor, without a second copy of the weights.

    Args:
        task: whose classes an encoder's head has.
        seed: of a new head, and of the random weights if ``pretrained`` is false.
        bf16: all weights but the normalisations' in bf16; else all in fp32.

    Raises:
        KronaError: a folder that is not there, an architecture of no family, a damaged file, no network.
    """
    require_folders(settings)
    folder = find_folder(settings)
    new: tuple[str, ...] = ()
    with hub_or_cache_only(settings):
        config = build_config(settings, folder, task, own=settings.pretrained)
        family = find_family(config, model_name(settings))
        tokenizer = load_tokenizer(settings)
        reader = family(task, tokenizer)
        if settings.pretrained:
            model, new = _pretrained(settings, folder, config, task, bf16=bf16)
    if not settings.pretrained:
        torch.manual_seed(seed)
        model = _untrained(config, settings, bf16=bf16)
    draw(model, new, seed=seed)
    if len(tokenizer) > model.config.vocab_size:
        raise KronaError(
            f"the tokenizer has {len(tokenizer)} pieces, the backbone {model_name(settings)} embeds "
            f"{model.config.vocab_size}: they do not belong together"
        )
    return Loaded(model=model, tokenizer=tokenizer, family=reader, new_weights=new)


def draw(model: nn.Module, names: tuple[str, ...], *, seed: int) -> None:
    """Draw a head's new weights: N(0, 0.02) or the config's ``initializer_range``, biases 0, a norm's weight 1."""
    generator = torch.Generator().manual_seed(seed)
    std = float(getattr(model.config, "initializer_range", 0.02))
    for name in names:
        owner, _, attribute = name.rpartition(".")
        old = model.get_parameter(name)
        value = torch.zeros(old.shape) if attribute == "bias" else torch.ones(old.shape)
        if old.dim() > 1:
            value.normal_(std=std, generator=generator)
        setattr(model.get_submodule(owner), attribute, nn.Parameter(value.to(old.device, old.dtype)))


def _untrained(config: Any, settings: Backbone, *, bf16: bool) -> PreTrainedModel:
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if bf16 else kept)
    try:
        model: PreTrainedModel = _class_of(config, settings)(config)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        wrong = (
            f"backbone.sizes={dict(settings.sizes or {})}" if find_folder(settings) is None else model_name(settings)
        )
        raise KronaError(f"{wrong}: no {config.model_type} can be built: {type(error).__name__}: {error}") from error
    finally:
        torch.set_default_dtype(kept)
    for module in model.modules():
        if bf16 and is_norm(module):
            module.float()
    if settings.tied_head is False or not getattr(config, "tie_word_embeddings", True):
        untie_head(model)
    return model


def _class_of(config: Any, settings: Backbone) -> Any:
    library = find_family(config, model_name(settings)).auto._model_mapping[type(config)]
    if not pools(config):
        return library
    return pooled_class(library, tuple(get_architecture(config.model_type).head))


def untie_head(model: Any) -> None:
    """Give lm_head a weight of its own, as published Flan and v1.1 checkpoints have it."""
    head, embedded = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and embedded is not None and head.weight is embedded.weight:
        head.weight = nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = False


def random_model(settings: Backbone, task: Task | None = None) -> PreTrainedModel:
    """The backbone with random weights, drawn by torch's generator; without a tokenizer."""
    require_folders(settings)
    with hub_or_cache_only(settings):
        config = build_config(settings, find_folder(settings), task)
    return _untrained(config, settings, bf16=False)


def meta_model(settings: Backbone, task: Task | None = None) -> PreTrainedModel:
    """The backbone on the meta device, without weights: for counts."""
    with torch.device("meta"):
        return random_model(settings, task)


def _pretrained(
    settings: Backbone, folder: Path | None, config: Any, task: Task, *, bf16: bool
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model with its checkpoint's weights, and the names of its head's weights that the checkpoint lacks."""
    what = f"the weights of {model_name(settings)}"
    log: Any = transformers_logging  # untyped
    kind: Any = _class_of(config, settings)
    if bf16:
        kind = type(kind.__name__, (kind,), {"_keep_in_fp32_modules_strict": _norms(config, settings)})
    dtype = torch.bfloat16 if bf16 else torch.float32
    shown = log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()  # it reports keys that do not fit as a warning: here they are an error
    try:
        tensors = _tensors_of(folder) if bf16 and folder is not None else {}
        source: dict[str, Any] = {"config": config, "revision": settings.revision, **gguf_arguments(settings)}
        if tensors:
            source |= {"state_dict": tensors}
        # of a GGUF file the library shows a progress bar that can't be turned off
        with redirect_stderr(StringIO()) if gguf_arguments(settings) else nullcontext():
            model, keys = kind.from_pretrained(
                None if tensors else hub_name_or_folder(settings, folder),
                **source,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except Exception as error:  # safetensors, json, torch and the Hub each raise their own
        raise download_error(what, error, WAYS_OUT) from error
    finally:
        log.set_verbosity(shown)
    heads = tuple(f"{name}." for name in find_architecture(model).head)
    new = tuple(name for name, _ in model.named_parameters() if name in keys["missing_keys"] and name.startswith(heads))
    for name, there, needed in keys["mismatched_keys"]:
        if name.startswith(heads or ("a head",)):
            raise KronaError(
                f"{what}: its head has {there[0]} outputs, task {task.name} needs {needed[0]} ({name}). Save the model "
                "without its head, which is then drawn from the seed: model.base_model.save_pretrained(FOLDER)"
            )
    for trouble in ("missing", "unexpected", "mismatched"):
        names = sorted(key if isinstance(key, str) else str(key[0]) for key in keys[f"{trouble}_keys"])
        if heads:  # a checkpoint of an encoder has no head, or that of what it was trained for
            prefix = f"{model.base_model_prefix}."
            pooler = f"{prefix}pooler."
            if trouble == "missing" and any(name.startswith(pooler) for name in names):
                raise KronaError(f"{what}: the checkpoint has no pooler. Set backbone.pooling to mean or first.")
            if trouble == "unexpected":  # parts that this model does not have, of the checkpoint's own head
                names = [n for n in names if n.startswith(prefix) and not n.startswith(pooler)]
            names = [n for n in names if n not in new]
        if names:
            raise KronaError(
                f"{what} are not those of a {kind.__name__} of this config: {amount(len(names), f'{trouble} tensor')} "
                f"(first {names[0]}), so it would be partly untrained; save it again with "
                f"{kind.__name__}.save_pretrained"
            )
    assert isinstance(model, PreTrainedModel)
    return model, new


def _norms(config: Any, settings: Backbone) -> set[str]:
    """The last parts of the names of normalisations: they stay in fp32, are small, and most methods train them."""
    with torch.device("meta"):
        model = _class_of(config, settings)(config)
    return {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if is_norm(m)}


def _tensors_of(folder: Path) -> dict[str, Any]:
    """The tensors of a folder's safetensors files, each read when it is needed.

    The library maps files into memory: a whole file in fp32 would count as this process's memory while it is copied to
    bf16.
    """
    files: Any = [safe_open(file, framework="pt", backend="pread") for file in folder.glob("model*.safetensors")]
    return {name: file.get_slice(name) for file in files for name in file.keys()}  # noqa: SIM118
