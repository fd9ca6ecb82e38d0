"""Change values of nested dicts, such as those of a config."""

import copy
from collections.abc import Mapping
from typing import Any


def with_values(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy with changed values at keys with dots. The value ``...`` deletes a key."""
    values = copy.deepcopy(values)
    for path, value in changes.items():
        *parents, key = path.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = value
        if value is ...:
            del place[key]
    return values
