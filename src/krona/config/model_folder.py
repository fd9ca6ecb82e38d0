"""Read the config and the pooling in a model's folder without importing transformers.

The pooling of a sentence-transformers checkpoint reduces the token vectors to one vector.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from krona.messages import KronaError
from krona.paths import NANO, expand
from krona.safe_files import read_json

WIDTHS = ("d_model", "hidden_size", "n_embd", "dim")  # the keys that model configs use for the width
Pooling = Literal["pooler", "first", "mean"]
FILE = Path("1_Pooling", "config.json")  # the path that sentence-transformers uses
MODES: dict[str, Pooling] = {"mean": "mean", "mean_tokens": "mean", "cls": "first", "cls_token": "first"}


def write_pooling(folder: Path, pooling: Pooling) -> None:
    """Write the pooling to a model's folder in the format of sentence-transformers, which `folder_pooling` reads."""
    mode = {"mean": "mean", "first": "cls"}[pooling]
    (folder / FILE).parent.mkdir()
    (folder / FILE).write_text(json.dumps({"pooling_mode": mode}) + "\n", encoding="utf-8")


def folder_pooling(path: str | None) -> Pooling | None:
    """Return the pooling in a model's folder, or None if the pooling is missing or not supported.

    Raises:
        KronaError: the file with the pooling is damaged.
    """
    if not isinstance(path, str):  # a path of another type is reported later
        return None
    file = expand(path) / FILE
    if not file.is_file():
        return None
    try:
        content = read_json(file)
        named = content.get("pooling_mode")  # only in newer files; older files have a flag for each mode
        flags = [key.removeprefix("pooling_mode_") for key, value in content.items() if value is True]
    except (OSError, ValueError, AttributeError) as error:
        raise KronaError(f"{file} is damaged: {error}. Set the pooling, for example backbone.pooling=mean.") from error
    modes = [named] if named is not None else [key for key in flags if key != "include_prompt"]
    return MODES.get(str(modes[0])) if len(modes) == 1 else None


def read_model_config(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a backbone's config.json or, if the file is missing, the setting ``sizes``."""
    folder = NANO if backbone.get("name") == "nano" else backbone.get("path")
    if isinstance(folder, str | Path) and (file := expand(folder) / "config.json").is_file():
        with suppress(OSError, ValueError):  # a damaged file is reported when the backbone is loaded
            content = read_json(file)
            if not isinstance(content, dict):
                return {}
            return dict(content["encoder"]) if "krona_pooling" in content else content  # see modeling_krona.py
    sizes = backbone.get("sizes")
    return dict(sizes) if isinstance(sizes, Mapping) else {}  # sizes of another type are reported later
