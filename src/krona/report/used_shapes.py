"""The shape of A that was asked for, and the one that the layers made of it."""

from typing import Any

from krona.methods.factor_shapes import shape_name
from krona.outputs.result import Result
from krona.report.selection import StoredRun


def used_shape(result: Result) -> str | None:
    """The shape of A on this backbone's layers, as 16x12."""
    return _shape_of_a(result.provenance.get("branch_config") or {}) or _shape_of_a(result.config["method"])


def asked_shape(result: Result) -> str | None:
    """The shape of A that was asked for, where the layers made another of it: 32x24."""
    asked = _shape_of_a(result.config["method"])
    return asked if asked != used_shape(result) else None


def settings_used(run: StoredRun) -> dict[str, str]:
    """A run's settings with the shape of A that a finished run used, whichever was asked for and fitted to it."""
    used = used_shape(run.result) if run.status == "done" else None
    if used is None:
        return run.settings
    found = {**run.settings, "method.kron_factors": used}
    found.pop("method.fit_factors", None)
    return found


def _shape_of_a(method: dict[str, Any]) -> str | None:
    factors = method.get("kron_factors")
    return shape_name(factors[0]) if factors else None
