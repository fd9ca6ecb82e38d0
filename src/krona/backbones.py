"""T5 and its tokenizer: from the Hub, from a folder, from the repository (nano), or with random weights of a size."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase, T5Config, T5ForConditionalGeneration
from transformers.utils import logging as transformers_logging

from krona.errors import KronaError
from krona.hub import download_error, require_reachable
from krona.settings import Backbone

NANO = Path(__file__).parent / "nano"
WAYS_OUT = "profile=demo (nothing to download), backbone=local backbone.path=FOLDER, or backbone.pretrained=false"


@dataclass(frozen=True)
class Loaded:
    """A backbone in fp32 and its tokenizer."""

    model: T5ForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase


def load(settings: Backbone, *, seed: int) -> Loaded:
    """Load a backbone. ``seed`` draws the random weights where ``pretrained`` is false.

    Raises:
        KronaError: a folder that is not there or not a T5, a damaged file, no network.
    """
    folder = folder_of(settings)
    tokenizer = _tokenizer(settings, folder)
    if not settings.pretrained:
        config = _config(settings, folder)
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(config)
        if not config.tie_word_embeddings or settings.tied_head is False:
            untie_head(model)
    else:
        model = _pretrained(settings, folder)
    if len(tokenizer) > model.config.vocab_size:
        raise KronaError(
            f"the tokenizer has {len(tokenizer)} pieces, the backbone {settings.name} embeds "
            f"{model.config.vocab_size}: they do not belong together"
        )
    return Loaded(model=model, tokenizer=tokenizer)


def untie_head(model: T5ForConditionalGeneration) -> None:
    """Give lm_head a weight of its own, as published Flan and v1.1 checkpoints have it."""
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.config.tie_word_embeddings = False


def meta_model(settings: Backbone) -> T5ForConditionalGeneration:
    """The backbone's shape on the meta device: for counts, in a moment and without weights."""
    config = _config(settings, folder_of(settings))
    with torch.device("meta"):
        model = T5ForConditionalGeneration(config)
        if not config.tie_word_embeddings or settings.tied_head is False:
            untie_head(model)
    return model


def fingerprint(settings: Backbone) -> str:
    """What the backbone is, before it is loaded: total, so that a run's id never fails.

    A folder's content, a Hub name with its revision, or the sizes of random weights; with the tokenizer's content.
    """
    folder = folder_of(settings)
    tokenizer = f" tokenizer {_folder_hash(Path(settings.tokenizer), weights=False)}" if settings.tokenizer else ""
    if not settings.pretrained:
        what = _folder_hash(folder, weights=False) if folder else json.dumps(_plain(settings.sizes), sort_keys=True)
        return f"random {what}{tokenizer}"
    if folder is not None:
        return f"{_folder_hash(folder, weights=True)}{tokenizer}"
    return f"hub {settings.name}@{settings.revision or 'main'}{tokenizer}"


def folder_of(settings: Backbone) -> Path | None:
    """The folder that a backbone is read from; None where it comes from the Hub or from sizes alone."""
    if settings.name == "nano" and settings.path is None:
        return NANO
    return Path(settings.path).expanduser() if settings.path is not None else None


def _plain(sizes: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(sizes or {})


def _folder_hash(folder: Path, *, weights: bool) -> str:
    suffixes = {".json", ".model"} | ({".safetensors", ".bin"} if weights else set())
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix in suffixes)
        marks = tuple((str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    except OSError:
        return "absent"
    return _content_hash(marks)


@lru_cache(maxsize=32)
def _content_hash(marks: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path, _, _ in marks:
        digest.update(Path(path).name.encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _config(settings: Backbone, folder: Path | None) -> T5Config:
    if settings.sizes is not None:
        sizes: dict[str, Any] = dict(settings.sizes)
        try:
            return T5Config(**{"decoder_start_token_id": 0, **sizes})
        except (TypeError, ValueError) as error:
            raise KronaError(f"backbone.sizes={sizes}: {error}") from error
    source = _source(settings, folder)
    try:
        config = AutoConfig.from_pretrained(source, revision=settings.revision)
    except (OSError, ValueError) as error:
        raise download_error(f"the config of {settings.name}", error, WAYS_OUT) from error
    return _require_t5(config, settings)


def _require_t5(config: Any, settings: Backbone) -> T5Config:
    if getattr(config, "model_type", None) != "t5":
        kind = getattr(config, "model_type", "model of no known type")
        raise KronaError(f"backbone {settings.path or settings.name} is a {kind}, not a T5")
    assert isinstance(config, T5Config)
    return config


def _source(settings: Backbone, folder: Path | None) -> str:
    if folder is None:
        require_reachable(f"the backbone {settings.name}", settings.name, WAYS_OUT)
        return settings.name
    if not folder.is_dir():
        raise KronaError(f"backbone.path={folder}: no such folder")
    if not (folder / "config.json").is_file():
        raise KronaError(f"backbone.path={folder}: no config.json in it, so it is no transformers model")
    return str(folder)


def _pretrained(settings: Backbone, folder: Path | None) -> T5ForConditionalGeneration:
    source = _source(settings, folder)
    if folder is not None:
        _require_t5(_config(_without_sizes(settings), folder), settings)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = T5ForConditionalGeneration.from_pretrained(
            source, revision=settings.revision or "main", dtype=torch.float32
        )
    except Exception as error:  # safetensors, json, torch and the Hub each raise their own
        raise download_error(f"the weights of {settings.path or settings.name}", error, WAYS_OUT) from error
    assert isinstance(model, T5ForConditionalGeneration)
    return model


def _without_sizes(settings: Backbone) -> Backbone:
    return Backbone(name=settings.name, path=settings.path, revision=settings.revision)


def _tokenizer(settings: Backbone, folder: Path | None) -> PreTrainedTokenizerBase:
    source = str(Path(settings.tokenizer).expanduser()) if settings.tokenizer else None
    if source is not None and not Path(source).is_dir():
        raise KronaError(f"backbone.tokenizer={source}: no such folder")
    if source is None:
        source = _source(settings, folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=settings.revision if folder is None else None)
    except Exception as error:  # each tokenizer backend raises its own
        raise download_error(f"the tokenizer of {settings.path or settings.name}", error, WAYS_OUT) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """What a tokenizer does to text: its pieces and its rules."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return hashlib.blake2b(f"{type(tokenizer).__name__} {rules}".encode(), digest_size=8).hexdigest()
