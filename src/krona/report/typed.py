"""Words of the command line that choose a run's backbone and data, as its config has them."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from krona.paths import choice_files

BACKBONE, DATA = "t5_base", "hub"  # of conf/config.yaml


def typed_words(backbone: Mapping[str, Any], data: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """``backbone=local backbone.path=/t5``: the shipped choices, and each key in which the config differs from them."""
    name = _named().get(backbone["name"], "local" if backbone.get("path") else "hub")
    source = data.get("kind", DATA)
    demo = (kind, name) == ("sample", "nano")  # the profile chooses both
    words = ["profile=demo"] if demo else [f"backbone={name}"] if name != BACKBONE else []
    words += _differing("backbone", backbone, _shipped("backbone", name))
    words += [f"data={source}"] if source != DATA and not demo else []
    return (*words, *_differing("data", data, _shipped("data", source)))


def _differing(path: str, values: Mapping[str, Any], shipped: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(values, key=lambda key: key != "path"):
        value, own = values[key], shipped.get(key)
        if isinstance(value, Mapping) and isinstance(own, Mapping):
            yield from _differing(f"{path}.{key}", value, own)
        elif value != own:
            yield f"{'' if key in shipped else '+'}{path}.{key}={_typed(value)}"


def _typed(value: Any) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_typed(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


@cache
def _named() -> dict[str, str]:
    """The name that a backbone's YAML gives, and the YAML's own."""
    shipped = ((_shipped("backbone", stem).get("name"), stem) for stem in choice_files("backbone"))
    return {name: stem for name, stem in shipped if name is not None}


@cache
def _shipped(group: str, stem: str) -> dict[str, Any]:
    """A YAML of conf/ with what its defaults give; empty for one that is not there (any more)."""
    path = choice_files(group).get(stem)
    own = dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path is not None else {}
    content: dict[str, Any] = {}
    for part in (*(_shipped(group, name) for name in own.pop("defaults", []) if isinstance(name, str)), own):
        for key, value in part.items():
            below = content.get(key)
            content[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return content
