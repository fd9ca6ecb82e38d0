"""Messages about keys that no setting has; habits.yaml lists keys of other tools with what krona has instead."""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from krona.messages import did_you_mean


def unknown_key(key: str, known: Collection[str] = ()) -> str:
    """Return the message for a key that no setting has; ``known``: the keys beside it."""
    near = f": {did_you_mean(key.rpartition('.')[2], sorted(known))}" if known else ""
    return f"Unknown key {key}{habit_for(key) or near}"


def habit_for(key: str) -> str:
    """Return ``. Instead: …`` for a key, or for ``key=value``, of another tool; else an empty text."""
    instead = habits().get(key)
    return f". Instead: {instead}" if instead else ""


@cache
def habits() -> dict[str, str]:
    """Return what krona has instead of keys and choices of other tools."""
    table: Any = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {key: instead for instead, keys in table.items() for key in keys}
