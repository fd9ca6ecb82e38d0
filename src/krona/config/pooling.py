"""Read and write the pooling of a sentence-transformers checkpoint: how it reduces token vectors to one vector."""

import json
from pathlib import Path
from typing import Literal

from krona.messages import KronaError
from krona.paths import expand
from krona.safe_files import read_json

Pooling = Literal["pooler", "first", "mean"]
FILE = Path("1_Pooling", "config.json")  # the path that sentence-transformers uses
MODES: dict[str, Pooling] = {"mean": "mean", "mean_tokens": "mean", "cls": "first", "cls_token": "first"}


def write_pooling(folder: Path, pooling: Pooling) -> None:
    """Write the pooling to a model's folder in the format of sentence-transformers, which `folder_pooling` reads."""
    mode = {"mean": "mean", "first": "cls"}[pooling]
    (folder / FILE).parent.mkdir()
    (folder / FILE).write_text(json.dumps({"pooling_mode": mode}) + "\n", encoding="utf-8")


def folder_pooling(path: str | None) -> Pooling | None:
    """Return the pooling that a model's folder specifies, or None for none or one that krona does not have.

    Raise `KronaError` if the file is damaged.
    """
    if not isinstance(path, str):  # another type is reported later
        return None
    file = expand(path) / FILE
    if not file.is_file():
        return None
    try:
        content = read_json(file)
        named = content.get("pooling_mode")  # in newer versions; older versions have a flag for each mode
        flags = [key.removeprefix("pooling_mode_") for key, value in content.items() if value is True]
    except (OSError, ValueError, AttributeError) as error:
        raise KronaError(f"{file} is damaged: {error}. Set the pooling, for example backbone.pooling=mean.") from error
    modes = [named] if named is not None else [key for key in flags if key != "include_prompt"]
    return MODES.get(str(modes[0])) if len(modes) == 1 else None
