"""Types for the parts of a result: numbers that are not converted, and dicts that are checked as typed ones.

`annotated_types` states the ranges, so that pydantic is imported only when a file is checked.
"""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

T = TypeVar("T")
INF = float("inf")
READ: dict[str, Any] = {"extra": "allow", "use_attribute_docstrings": True}  # pydantic's configuration of a part
WRITTEN = {**READ, "json_schema_extra": {"additionalProperties": False}}  # this version writes no further keys


class Exactly:
    """Annotation of a number that is not converted from another type, such as text."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), "strict": True}


Flag = Annotated[bool, Exactly()]
Integer = Annotated[int, Exactly()]
Count = Annotated[Integer, Ge(0), Lt(2**63)]
Number = Annotated[float, Exactly(), Gt(-INF), Lt(INF)]
Positive = Annotated[Number, Ge(0)]
Score = Annotated[Number, Ge(-100.000001), Le(100.000001)]
Words = dict[str, Any]


@dataclass(frozen=True)
class CheckedAs:
    """Annotation of a plain dict that is checked as ``form``, a typed one."""

    form: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(self.form)


def written(form: type[T]) -> type[T]:
    """Mark a part that krona writes. Further keys are accepted when it is read."""
    form.__pydantic_config__ = WRITTEN  # type: ignore[attr-defined]
    return form


def read(form: type[T]) -> type[T]:
    """Mark a part of the config, of which only the keys that reports read are checked."""
    form.__pydantic_config__ = READ  # type: ignore[attr-defined]
    return form
