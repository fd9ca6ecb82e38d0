"""Define the options that control where the branches of a method are inserted. This module does not import torch."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from krona.messages import KronaError

STRICT = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)
Position = Literal["parallel", "sequential"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Placement:
    """The arguments of `krona.surgery.insert` that a method's YAML file sets.

    These arguments select the modules that get a branch, and the backbone weights that are also trained.
    """

    target_modules: list[str] = field(default_factory=list)
    """Names or patterns of the modules that get a branch."""
    placement: Position | list[Position] = "parallel"
    """Position of the branches: one for all modules, or one for each."""
    inner_residual: bool = True
    """Add the output of a sequential branch to its input, instead of replacing it."""
    modules_per_target: Annotated[int, Ge(1), Le(2**31 - 1)] = 1
    """Branches at each target module."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Dropout probability of a branch's input."""
    magnitude: bool = False
    """Train the norm of each weight row separately, as DoRA does."""
    train_layer_norms: bool = True
    """Also train the normalisation layers."""
    train_backbone: bool = False
    """Also train the backbone's weights."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InsertOptions(Placement):
    """The options of `surgery.insert` as keyword arguments: the options of a method's YAML file, and the head."""

    head: list[str] = field(default_factory=list)
    """The names of the modules that are new for each task (``["classifier"]``). All methods train them."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "InsertOptions":
        """Return the options with these values.

        Raises:
            KronaError: an option has an invalid value.
        """
        options: dict[str, Any] = {k: list(value) if isinstance(value, tuple) else value for k, value in values.items()}
        try:
            return cls(**options)
        except ValidationError as error:
            problem = error.errors()[0]
            key = problem["loc"][0]
            raise KronaError(f"method.{key}={values[str(key)]!r} is invalid: {problem['msg']}.") from error

    def as_dict(self) -> dict[str, Any]:
        """Return the options for an adapter file. ``head`` and ``dropout`` are included only if they are set."""
        return {key: value for key, value in vars(self).items() if key not in ("head", "dropout") or value}
