"""Report unknown keys, and suggest krona's own key for a key of another tool (suggestions.yaml)."""

import re
from collections.abc import Collection
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from krona.messages import did_you_mean
from krona.paths import choice_files


def unknown_key(key: str, known: Collection[str] = (), *, value: object = None) -> str:
    """Return the message for an unknown dotted key, which suggests krona's own key or the most similar known key.

    Args:
        known: names of the existing keys in the same section.
        value: the value that the user gave, which the suggested replacement repeats.
    """
    near = ". krona docs configuration lists all keys"
    if known:
        near = f": {did_you_mean(key.rpartition('.')[2], sorted(known))}"
    return f"Unknown key {key}{replace_key(key, value) or near}"


def replace_key(key: str, value: object = None) -> str:
    """Return the first `foreign_key_hint` for an unknown key, the key's last part, or the key's section."""
    section, name = key.partition(".")[0], key.rpartition(".")[2]
    keys = [key] if section == "method" or name == "name" else [key, name]  # each method has its own keys
    advice = next((hint for candidate in (*keys, f"{section}.*") if (hint := foreign_key_hint(candidate, value))), "")
    return "" if advice.startswith(f". Instead: {key}=") else advice


def foreign_key_hint(key: str, value: object = None) -> str:
    """Return a suggestion for another tool's key or ``key=value`` (``. Instead: method=lora``), or an empty text."""
    table, text = foreign_key_hints(), _format_value(value)
    typed = f"{key}=[…]" if isinstance(value, list) else f"{key}={text}"
    instead = table.get(typed) or table.get(key)
    if instead is None:
        return ""
    option = similar_choice(instead.partition("=")[0], text)
    if option is None and instead == "backbone={}":
        instead = "backbone=hub backbone.name={}"
    instead = instead.replace("{}", option or text)
    instead = table.get(instead, instead)  # peft=prefix becomes method=prefix, which also has an entry
    if instead[0].isupper():
        return f". {instead}."
    if text.lower() == "false" and "{}" not in table[key]:
        return ". Leave it out: this is off by default."
    return f". Instead: {instead}"


def similar_choice(group: str, name: str) -> str | None:
    """Return the choice of a group that matches a name on the Hub, such as ``t5_base`` for ``google-t5/t5-base``."""
    plain, files = name.rpartition("/")[2].lower(), choice_files(group)
    word = plain.replace("-", "_").replace(".", "_")
    if option := next((option for option in (word, word.replace("_", "")) if option in files), None):
        return option
    if group != "backbone":
        return None
    models = {
        option: re.search(r"^name: (.+)$", file.read_text("utf-8"), re.MULTILINE) for option, file in files.items()
    }
    return next((option for option, model in models.items() if model and model[1].lower().endswith(f"/{plain}")), None)


def _format_value(value: object) -> str:
    """Return a value in the form that a user types in an override."""
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        return f"{Decimal(repr(value)):e}"
    if value is None or isinstance(value, bool):
        return "VALUE" if value is None else str(value).lower()
    return f"[{','.join(map(_format_value, value))}]" if isinstance(value, list) else str(value)


@cache
def foreign_key_hints() -> dict[str, str]:
    """Return krona's replacements for keys of other tools, by key or ``key=value``."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    # The C loader is ten times as fast.
    table: Any = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {key: instead for instead, keys in table.items() for key in keys}
