"""Source and fingerprint of a backbone, without torch: part of the run's id."""

import hashlib
import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.paths import NANO

WAYS_OUT = "profile=demo (nothing to download), backbone=local backbone.path=FOLDER, or backbone.pretrained=false"


def fingerprint(settings: Backbone) -> str:
    """A folder's content, a Hub name with its revision, or the sizes of random weights; with the tokenizer's content.

    It never fails, so that every run has an id: loading then says what is wrong.
    """
    folder, texts = find_folder(settings), tokenizer_folder(settings)
    tokenizer = f" tokenizer {_folder_hash(texts, weights=False)}" if texts not in (None, folder) else ""
    if not settings.pretrained:
        what = _folder_hash(folder, weights=False) if folder else json.dumps(dict(settings.sizes or {}), sort_keys=True)
        return f"random {what}{tokenizer}"
    if folder is not None:
        return f"{_folder_hash(folder, weights=True)}{tokenizer}"
    return f"hub {settings.name}@{settings.revision or 'main'}{tokenizer}"


def find_folder(settings: Backbone) -> Path | None:
    """The folder of a backbone; None if it comes from the Hub or from sizes alone."""
    if settings.name == "nano" and settings.path is None:
        return NANO
    if settings.path is None:
        return None
    path = Path(settings.path).expanduser()
    return path.parent if path.suffix == ".gguf" and path.is_file() else path


def gguf_arguments(settings: Backbone) -> dict[str, str]:
    """``gguf_file`` for transformers, where the backbone is a GGUF file or a folder with one and no config.json."""
    folder = find_folder(settings)
    if folder is None or settings.path is None or not folder.is_dir():
        return {}
    files = [Path(settings.path)] if settings.path.endswith(".gguf") else sorted(folder.glob("*.gguf"))
    if not files or ((folder / "config.json").is_file() and not settings.path.endswith(".gguf")):
        return {}
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise KronaError(f"backbone.path={settings.path}: {len(files)} GGUF files ({names}): name one of them")
    if find_spec("gguf") is None:
        raise KronaError(f"backbone.path={settings.path}: a GGUF file is read with the package gguf: pip install gguf")
    return {"gguf_file": files[0].name}


def tokenizer_folder(settings: Backbone) -> Path | None:
    """The folder of the tokenizer; None if it comes from the Hub.

    Random weights of given sizes use nano's tokenizer unless another is named.
    """
    if settings.tokenizer is not None:
        return Path(settings.tokenizer).expanduser()
    folder = find_folder(settings)
    return NANO if folder is None and not settings.pretrained and settings.sizes is not None else folder


def needs_hub(settings: Backbone) -> bool:
    """Whether anything of the backbone comes from the Hub."""
    return find_folder(settings) is None and (settings.pretrained or tokenizer_folder(settings) is None)


def require_folders(settings: Backbone) -> None:
    """Raise `KronaError` if a named folder does not exist or has no model."""
    folder, texts = find_folder(settings), tokenizer_folder(settings)
    if folder is not None and not folder.is_dir():
        raise KronaError(
            f"backbone.path={settings.path or folder}: {'not a folder' if folder.exists() else 'no such folder'}"
        )
    if folder is not None and not gguf_arguments(settings) and not (folder / "config.json").is_file():
        raise KronaError(
            f"backbone.path={settings.path or folder}: no config.json in it, so it is no transformers model; "
            "there should be config.json, model.safetensors and a tokenizer"
        )
    if texts is not None and not texts.is_dir():
        raise KronaError(f"backbone.tokenizer={settings.tokenizer or texts}: no such folder")


def _folder_hash(folder: Path, *, weights: bool) -> str:
    suffixes = {".json", ".model"} | ({".safetensors", ".bin", ".gguf"} if weights else set())
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix in suffixes)
        return _content_hash(tuple((str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files))
    except OSError:
        return "absent"


@lru_cache(maxsize=32)
def _content_hash(files: tuple[tuple[str, int, int], ...]) -> str:
    """Sizes and times are for the cache: a sweep asks for the same folder in each job."""
    digest = hashlib.blake2b(digest_size=8)
    for path, _, _ in files:
        digest.update(Path(path).name.encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()
