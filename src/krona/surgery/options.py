"""The options of `surgery.insert`."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from krona.messages import KronaError
from krona.methods.placement import STRICT, Placement


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InsertOptions(Placement):
    """The options of `surgery.insert` as keyword arguments: the options of a method's YAML file, and the head."""

    head: list[str] = field(default_factory=list)
    """The names of the modules that are new for each task (``["classifier"]``). They train with every method."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "InsertOptions":
        """Return the options with these values. Raises KronaError if a value is invalid."""
        options: dict[str, Any] = {k: list(value) if isinstance(value, tuple) else value for k, value in values.items()}
        try:
            return cls(**options)
        except ValidationError as error:
            problem = error.errors()[0]
            key = problem["loc"][0]
            raise KronaError(f"method.{key}={values[str(key)]!r} is invalid: {problem['msg']}.") from error

    def as_dict(self) -> dict[str, Any]:
        """Return the options for an adapter's file. They include ``head`` only if there is a head."""
        return {key: value for key, value in vars(self).items() if key != "head" or value}


def list_placements(options: Mapping[str, Any]) -> list[Any]:
    """Return a list with one placement for each pattern of ``target_modules``."""
    placement = options.get("placement", "parallel")
    return [placement] * len(options.get("target_modules", ())) if isinstance(placement, str) else list(placement)
