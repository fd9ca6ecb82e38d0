"""Source and fingerprint of a backbone. The fingerprint is part of the run id; nothing here imports torch."""

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
    """Return an id of the weights and the tokenizer.

    It is a hash of the folder's files, the Hub's name with the revision, or the sizes of random weights. It never
    raises, so that every run has an id; loading reports errors.
    """
    folder, texts = find_folder(settings), tokenizer_folder(settings)
    tokenizer = f" tokenizer {_hash_folder(texts, weights=False)}" if texts not in (None, folder) else ""
    if not settings.pretrained:
        what = _hash_folder(folder, weights=False) if folder else json.dumps(dict(settings.sizes or {}), sort_keys=True)
        return f"random {what}{tokenizer}"
    if folder is not None:
        return f"{_hash_folder(folder, weights=True)}{tokenizer}"
    return f"hub {settings.name}@{settings.revision or 'main'}{tokenizer}"


def find_folder(settings: Backbone) -> Path | None:
    """Return the backbone's folder; None for a model of the Hub or of sizes alone."""
    if settings.name == "nano" and settings.path is None:
        return NANO
    if settings.path is None:
        return None
    path = Path(settings.path).expanduser()
    return path.parent if path.suffix == ".gguf" and path.is_file() else path


def tokenizer_folder(settings: Backbone) -> Path | None:
    """Return the tokenizer's folder; None for the Hub. Random weights of given sizes use nano's tokenizer."""
    if settings.tokenizer is not None:
        return Path(settings.tokenizer).expanduser()
    folder = find_folder(settings)
    return NANO if folder is None and not settings.pretrained and settings.sizes is not None else folder


def gguf_arguments(settings: Backbone) -> dict[str, str]:
    """Return ``gguf_file`` for transformers if the backbone is a GGUF file, or a folder with one and no config.json."""
    folder = find_folder(settings)
    if folder is None or settings.path is None or not folder.is_dir():
        return {}
    files = [Path(settings.path)] if settings.path.endswith(".gguf") else sorted(folder.glob("*.gguf"))
    if not files or ((folder / "config.json").is_file() and not settings.path.endswith(".gguf")):
        return {}
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise KronaError(f"backbone.path={settings.path} has {len(files)} GGUF files ({names}). Name one of them.")
    if find_spec("gguf") is None:
        raise KronaError(f"backbone.path={settings.path}: reading a GGUF file needs a package: pip install gguf")
    return {"gguf_file": files[0].name}


def needs_hub(settings: Backbone) -> bool:
    """Return whether any part of the backbone comes from the Hub."""
    return find_folder(settings) is None and (settings.pretrained or tokenizer_folder(settings) is None)


def require_folders(settings: Backbone) -> None:
    """Raise KronaError if a named folder does not exist or has no model."""
    folder, texts = find_folder(settings), tokenizer_folder(settings)
    if folder is not None and not folder.is_dir():
        problem = "not a folder" if folder.exists() else "no such folder"
        raise KronaError(f"backbone.path={settings.path or folder}: {problem}.")
    if folder is not None and not gguf_arguments(settings) and not (folder / "config.json").is_file():
        raise KronaError(
            f"backbone.path={settings.path or folder} has no config.json, so it is not a transformers model. It needs "
            "config.json, model.safetensors and a tokenizer."
        )
    if texts is not None and not texts.is_dir():
        raise KronaError(f"backbone.tokenizer={settings.tokenizer or texts}: no such folder.")


def _hash_folder(folder: Path, *, weights: bool) -> str:
    suffixes = {".json", ".model"} | ({".safetensors", ".bin", ".gguf"} if weights else set())
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix in suffixes)
        return _hash_content(tuple((str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files))
    except OSError:
        return "absent"


@lru_cache(maxsize=32)
def _hash_content(files: tuple[tuple[str, int, int], ...]) -> str:
    """Return a hash of names and contents. Sizes and times are keys of the cache, which the jobs of a sweep share."""
    digest = hashlib.blake2b(digest_size=8)
    for path, _, _ in files:
        digest.update(Path(path).name.encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()
