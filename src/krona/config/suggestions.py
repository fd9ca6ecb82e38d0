"""Report unknown keys, and suggest krona's own key for a key of another tool (suggestions.yaml)."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from krona.messages import did_you_mean
from krona.paths import choice_files


@dataclass(frozen=True)
class Suggestion:
    """A replacement for another tool's key. As a text, it is the end of a message."""

    text: str  # something to type, such as method=lora, or a sentence without its full stop
    is_sentence: bool = False

    def __str__(self) -> str:
        return f". {self.text}." if self.is_sentence else f". Instead: {self.text}"


def unknown_key(key: str, known: Collection[str] = (), *, value: object = None) -> str:
    """Return the message for an unknown dotted key, which suggests krona's own key or the most similar known key.

    Args:
        known: names of the existing keys in the same section.
        value: the value that the user gave, which the suggested replacement repeats.
    """
    near = ""
    if known:
        near = f": {did_you_mean(key.rpartition('.')[2], sorted(known))}"
    return f"Unknown key {key}{replace_key(key, value) or near}"


def replace_key(key: str, value: object = None) -> Suggestion | None:
    """Return the first `foreign_key_hint` for an unknown key, the key's last part, or the key's section."""
    section, name = key.partition(".")[0], key.rpartition(".")[2]
    keys = [key] if section == "method" or name == "name" else [key, name]  # each method has its own keys
    hints = (foreign_key_hint(candidate, value) for candidate in (*keys, f"{section}.*"))
    hint = next(filter(None, hints), None)
    return None if hint and hint.text.startswith(f"{key}=") else hint


def foreign_key_hint(key: str, value: object = None) -> Suggestion | None:
    """Return the suggestion for another tool's key or ``key=value``, such as ``method=lora``."""
    table, text = foreign_key_hints(), _format_value(value)
    typed = f"{key}=[…]" if isinstance(value, list) else f"{key}={text}"
    hint = table.get(typed) or table.get(key)
    if hint is None or hint.is_sentence:
        return hint
    if text.lower() == "false" and "{}" not in hint.text:
        return Suggestion("Leave it out: this is off by default", is_sentence=True)
    option = similar_choice(hint.text.partition("=")[0], text)
    template = "backbone=hub backbone.name={}" if option is None and hint.text == "backbone={}" else hint.text
    instead = template.replace("{}", option or text)
    return table.get(instead, Suggestion(instead))  # peft=prefix becomes method=prefix, which also has an entry


def similar_choice(group: str, name: str) -> str | None:
    """Return the choice of a group that matches a name on the Hub, such as ``t5_base`` for ``google-t5/t5-base``.

    A choice in a folder matches by its last part, such as ``peft/loha`` for ``LoHa``.
    """
    plain, files = name.rpartition("/")[2].lower(), choice_files(group)
    word = plain.replace("-", "_").replace(".", "_")
    if option := next((option for option in (word, word.replace("_", "")) if option in files), None):
        return option
    in_folders = [option for option, file in files.items() if file.stem == word]
    if len(in_folders) == 1:
        return in_folders[0]
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
def foreign_key_hints() -> dict[str, Suggestion]:
    """Return the suggestions for keys of other tools, by key or ``key=value``."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    # The C loader is ten times as fast.
    sections: Any = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {
        key: Suggestion(instead, is_sentence=section == "sentences")
        for section, table in sections.items()
        for instead, keys in table.items()
        for key in keys
    }
