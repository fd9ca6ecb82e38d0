"""Read the rows of a JSONL file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from krona.messages import did_you_mean
from krona.safe_files import parse_json
from krona.tasks.values import BadRowError


def parse_json_row(text: str, columns: Mapping[str, Sequence[str]]) -> dict[str, Any] | BadRowError:
    """Return the columns of a row, which is a JSON object in one line, or the error of a bad row.

    ``columns`` is a dict from each column to its possible names in a file, the preferred name first.
    """
    try:
        found = parse_json(text)
    except ValueError as error:
        reason = f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else error
        return BadRowError(f"the line is not a JSON object: {reason}", kind="no JSON object")
    if not isinstance(found, dict):
        return BadRowError(f"the line is not a JSON object with {', '.join(columns)}", kind="no JSON object")
    used = {column: next((name for name in names if name in found), None) for column, names in columns.items()}
    for column, name in used.items():
        if name is None:
            return BadRowError(f"the key '{column}' is missing: {did_you_mean(column, found)}", kind="missing column")
    if "\\u" in text or any(text.count(f'"{name}"') > 1 for name in used.values()):
        keys = [key for key, _ in json.loads(text, object_pairs_hook=list)]  # `found` has only the last of equal keys
        for name in used.values():
            if (count := keys.count(name)) > 1:
                return BadRowError(f"the key '{name}' occurs {count} times", kind="repeated key")
    row = {column: found[name] for column, name in used.items()}
    for column, value in row.items() if "\\u" in text else ():
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                problem = f"the column '{column}' has half of a surrogate pair, \\u{ord(value[error.start]):04x}"
                return BadRowError(problem, kind="half of a surrogate pair")
    return row
