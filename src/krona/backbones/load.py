"""Loading of T5 and its tokenizer: from the Hub, a folder or the package (nano), or with random weights."""

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.utils import logging as transformers_logging

from krona.backbones.source import folder_of, needs_hub, require_folders, tokenizer_folder
from krona.config.settings import Backbone
from krona.hub import download_error, offline, unreachable
from krona.messages import KronaError

WAYS_OUT = "profile=demo (nothing to download), backbone=local backbone.path=FOLDER, or backbone.pretrained=false"

SIZES = (  # of a T5's config, as `description` records them
    "d_model", "d_kv", "d_ff", "num_heads", "num_layers", "num_decoder_layers", "vocab_size", "feed_forward_proj",
    "tie_word_embeddings",
)  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    model: T5ForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase


class LayerNormsInFp32(T5ForConditionalGeneration):  # type: ignore[no-untyped-call]
    """A T5 with LayerNorms in fp32 where the rest is bf16: they are small, and most methods train them."""

    _keep_in_fp32_modules_strict = {"layer_norm"}  # noqa: RUF012


def load(settings: Backbone, *, seed: int, bf16: bool = False) -> Loaded:
    """Load a backbone, tensor by tensor, without a second copy of the weights.

    Args:
        seed: of the random weights if ``pretrained`` is false.
        bf16: all weights but the LayerNorms' in bf16; else all in fp32.

    Raises:
        KronaError: a folder that is not there or not a T5, a damaged file, no network.
    """
    require_folders(settings)
    folder = folder_of(settings)
    with _hub(settings):
        config = _config(settings, folder)
        tokenizer = _tokenizer(settings, folder)
        if settings.pretrained:
            model = _pretrained(settings, folder, bf16=bf16)
    if not settings.pretrained:
        torch.manual_seed(seed)
        model = _untrained(config, settings, bf16=bf16)
    if len(tokenizer) > model.config.vocab_size:
        raise KronaError(
            f"the tokenizer has {len(tokenizer)} pieces, the backbone {settings.path or settings.name} embeds "
            f"{model.config.vocab_size}: they do not belong together"
        )
    return Loaded(model=model, tokenizer=tokenizer)


def _untrained(config: T5Config, settings: Backbone, *, bf16: bool) -> T5ForConditionalGeneration:
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if bf16 else kept)
    try:
        model = T5ForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(kept)
    for module in model.modules():
        if bf16 and type(module).__name__ == "T5LayerNorm":
            module.float()
    if not config.tie_word_embeddings or settings.tied_head is False:
        untie_head(model)
    return model


def description(config: PreTrainedConfig, *, parameters: int) -> dict[str, Any]:
    """What a backbone is, whatever its name: ``architecture``, ``parameters`` and the ``sizes`` that its config has."""
    sizes = {key: getattr(config, key) for key in SIZES if getattr(config, key, None) is not None}
    return {"architecture": config.model_type, "parameters": parameters, "sizes": sizes}


def untie_head(model: T5ForConditionalGeneration) -> None:
    """Give lm_head a weight of its own, as published Flan and v1.1 checkpoints have it."""
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.config.tie_word_embeddings = False


def meta_model(settings: Backbone) -> T5ForConditionalGeneration:
    """The backbone on the meta device, without weights: for counts."""
    require_folders(settings)
    with _hub(settings):
        config = _config(settings, folder_of(settings))
    with torch.device("meta"):
        return _untrained(config, settings, bf16=False)


def _config(settings: Backbone, folder: Path | None) -> T5Config:
    if settings.sizes is not None and folder is None:
        sizes: dict[str, Any] = {"tie_word_embeddings": settings.tied_head is not False, **settings.sizes}
        try:
            return T5Config(**{"decoder_start_token_id": 0, **sizes})
        except Exception as error:  # its validation raises kinds of its own
            raise KronaError(f"backbone.sizes={sizes}: {error}") from error
    try:
        config: Any = AutoConfig.from_pretrained(_source(settings, folder), revision=settings.revision)
    except Exception as error:  # JSON, the Hub and its client each raise their own
        raise download_error(f"the config of {settings.path or settings.name}", error, WAYS_OUT) from error
    if getattr(config, "model_type", None) != "t5":
        kind = getattr(config, "model_type", "model of no known type")
        raise KronaError(f"backbone {settings.path or settings.name} is a {kind}, not a T5")
    assert isinstance(config, T5Config)
    return config


def _source(settings: Backbone, folder: Path | None) -> str:
    return settings.name if folder is None else str(folder)


def _hub(settings: Backbone) -> AbstractContextManager[Any]:
    """Only the cache if the Hub can't be reached: the libraries' retries would take half a minute."""
    return offline() if needs_hub(settings) and unreachable() is not None else nullcontext()


def _pretrained(settings: Backbone, folder: Path | None, *, bf16: bool) -> T5ForConditionalGeneration:
    what = f"the weights of {settings.path or settings.name}"
    log: Any = transformers_logging  # untyped
    kind: Any = LayerNormsInFp32 if bf16 else T5ForConditionalGeneration
    dtype = torch.bfloat16 if bf16 else torch.float32
    shown = log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()  # it reports keys that do not fit as a warning: here they are an error
    try:
        tensors = _tensors_of(folder) if bf16 and folder is not None else {}
        source: dict[str, Any] = {"revision": settings.revision}
        if tensors:
            source = {"config": _config(settings, folder), "state_dict": tensors}
        model, keys = kind.from_pretrained(
            None if tensors else _source(settings, folder), **source, dtype=dtype, output_loading_info=True
        )
    except Exception as error:  # safetensors, json, torch and the Hub each raise their own
        raise download_error(what, error, WAYS_OUT) from error
    finally:
        log.set_verbosity(shown)
    for kind in ("missing", "unexpected", "mismatched"):
        names = sorted(str(key) for key in keys[f"{kind}_keys"])
        if names:
            raise KronaError(
                f"{what} are not a T5's of this config: {len(names)} {kind} tensors (first {names[0]}), "
                "so it would be partly untrained; save it again with T5ForConditionalGeneration.save_pretrained"
            )
    assert isinstance(model, T5ForConditionalGeneration)
    return model


def _tensors_of(folder: Path) -> dict[str, Any]:
    """The tensors of a folder's safetensors files, each read when it is needed.

    The library maps files into memory: a whole file in fp32 would count as this process's memory while it is copied to
    bf16.
    """
    files: Any = [safe_open(file, framework="pt", backend="pread") for file in folder.glob("model*.safetensors")]
    return {name: file.get_slice(name) for file in files for name in file.keys()}  # noqa: SIM118


def _tokenizer(settings: Backbone, folder: Path | None) -> PreTrainedTokenizerBase:
    texts = tokenizer_folder(settings)
    what = f"the tokenizer of {texts or settings.name}"
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            settings.name if texts is None else str(texts), revision=settings.revision if texts is None else None
        )
    except Exception as error:  # each tokenizer backend raises its own
        raise download_error(what, error, WAYS_OUT) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of a tokenizer's pieces and rules."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return hashlib.blake2b(f"{type(tokenizer).__name__} {rules}".encode(), digest_size=8).hexdigest()
