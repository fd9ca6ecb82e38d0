"""Validation of a task's YAML, and its conversion to the types of `Task`'s fields."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from krona.messages import KronaError, did_you_mean

TEXTS = ("name", "template", "split", "label_column")
TEXTS_OR_NULL = ("sample", "hub_name")


def known_keys(where: str, config: object, cls: Any, *, filled_in: Sequence[str] = ()) -> dict[str, Any]:
    """The config as a dictionary. Raises for an unknown key, and for a missing one that is not in ``filled_in``."""
    if not isinstance(config, Mapping):
        raise KronaError(f"{where} must be keys and values, not {config!r}")
    names = [field.name for field in fields(cls)]
    for key in config:
        if key not in names:
            raise KronaError(f"{where}: unknown key '{key}': {did_you_mean(str(key), names)}")
    for field in fields(cls):
        required = field.default is MISSING and field.default_factory is MISSING and field.name not in filled_in
        if required and field.name not in config:
            hint = " (words, or null for a number)" if field.name == "labels" else ""
            raise KronaError(f"{where}: the key '{field.name}' is missing{hint}")
    return dict(config)


def plain_values(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the types of `Task`; template and score are filled in if left out."""
    task = dict(values)
    task["columns"] = _words(f"task {name}: columns", task["columns"])
    task["metrics"] = _words(f"task {name}: metrics", task["metrics"])
    score = task.get("score")
    task["score"] = task["metrics"] if score is None else _words(f"task {name}: score", score)
    if task.get("template") is None:
        task["template"] = " ".join(f"{column}: {{{column}}}" for column in task["columns"])
    task["labels"] = _labels(name, task["labels"])
    if task.get("files") is not None:
        task["files"] = _paths(name, task["files"])
    for key in (*TEXTS, *TEXTS_OR_NULL):
        value = task.get(key)
        if key in task and not (isinstance(value, str) or (value is None and key in TEXTS_OR_NULL)):
            raise KronaError(f"task {name}: {key} must be text, not {value!r}")
    if not isinstance(task.get("prefix"), bool | None):
        raise KronaError(f"task {name}: prefix must be true, false or null, not {task['prefix']!r}")
    return task


def _words(where: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence) or not all(isinstance(word, str) for word in value):
        raise KronaError(f"{where} must be a list of words, not {value!r}")
    return tuple(value)


def _labels(name: str, value: object) -> dict[str, int] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        pairs = [(word, i) for i, word in enumerate(value)]
    else:
        raise KronaError(f"task {name}: labels must be a list, word: id, or null for a number, not {value!r}")
    labels: dict[str, int] = {}
    for word, label_id in pairs:
        if isinstance(word, bool):
            raise KronaError(
                f"task {name}: labels: YAML reads yes, no, on, off, true and false as booleans: quote them"
            )
        if isinstance(label_id, bool) or not isinstance(label_id, int):
            raise KronaError(f"task {name}: labels: the id of '{word}' is {label_id!r}, not a whole number")
        if str(word) in labels:
            raise KronaError(f"task {name}: labels names '{word}' twice")
        labels[str(word)] = label_id
    return labels


def _paths(name: str, value: object) -> dict[str, str]:
    if isinstance(value, str):
        return {"train": value}
    if not isinstance(value, Mapping):
        raise KronaError(f"task {name}: files must be train: FILE (and dev:, test:), not {value!r}")
    return {str(key): str(path) for key, path in value.items() if path is not None}
