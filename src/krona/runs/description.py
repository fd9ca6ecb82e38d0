"""Describe the data and the factor shapes of a run, and how its data differs from the benchmark's."""

import shlex
from typing import Any

from krona import paths
from krona.display_names import BENCHMARKS, KINDS
from krona.formatting import below
from krona.methods.factor_shapes import shape_name
from krona.runs.folder import RunFolder
from krona.runs.result import Result

OfficialSplit = tuple[str, int, int]  # name of an official split, number of rows found, number in the benchmark


def differing_split(result: Result) -> OfficialSplit | None:
    """Return the data split whose row count differs most from the benchmark's, or None if all counts are equal."""
    counts: dict[str, list[int]] = result.provenance.get("official_rows") or {}
    differing = [(name, count, official) for name, (count, official) in counts.items() if count != official]
    return max(differing, key=relative_difference, default=None)


def relative_difference(split: OfficialSplit) -> float:
    """Return the relative difference between a split's row count and the benchmark's."""
    _, count, official = split
    return abs(count - official) / official


def describe_data(result: Result) -> str:
    """Describe the data of a run: its kind, or the row count that differs from the benchmark's."""
    split = differing_split(result)
    name = KINDS[result.data_kind] if split is None else describe_split(split, result.data_kind)
    return name if result.provenance.get("pretrained", True) else f"{name}, random weights"


def describe_split(split: OfficialSplit, kind: str = "glue") -> str:
    """Return a heading for data that has the format of a benchmark's files but a different number of rows."""
    name, count, official = split
    return f"{BENCHMARKS[kind]}'s format, but {count:,} instead of {official:,} rows in {name}"


def used_shape(result: Result) -> str | None:
    """Return the shape of A that the run used, such as ``16x12``."""
    return _shape_of_a(result.provenance.get("branch_config") or {}) or _shape_of_a(result.config["method"])


def asked_shape(result: Result) -> str | None:
    """Return the shape of A in the config, such as ``32x24``, or None if the run used this shape."""
    asked = _shape_of_a(result.config["method"])
    return asked if asked != used_shape(result) else None


def _shape_of_a(method: dict[str, Any]) -> str | None:
    factors = method.get("kron_factors")
    return shape_name(factors[0]) if factors else None


def predict_command(folder: RunFolder, result: Result) -> str | None:
    """Return the command that predicts with a run's weights, or None if the run kept no weights."""
    if not folder.adapter.is_file() and (result.trainable_params or result.head_params):
        return None
    name = folder.path.name if folder.path.parent == paths.OUTPUTS else below(folder.path)
    return f"krona predict {shlex.quote(name)} --input FILE"
