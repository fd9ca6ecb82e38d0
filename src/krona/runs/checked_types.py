"""Types for the parts of a result: numbers that are not converted, and dicts that are checked as typed ones."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

T = TypeVar("T")
INF = float("inf")
PART: dict[str, Any] = {"extra": "allow"}  # the configuration of each part for pydantic


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
    """Annotation of a plain dict that is checked as a typed one.

    Args:
        form: the type that pydantic checks.
    """

    form: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(self.form)


def part(form: type[T]) -> type[T]:
    """Let pydantic accept further keys in a part."""
    form.__pydantic_config__ = PART  # type: ignore[attr-defined]
    return form
