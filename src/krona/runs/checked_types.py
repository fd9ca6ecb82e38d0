"""Types for the fields of a result: numbers without conversion, and dicts that are validated as TypedDicts.

The ranges are defined with `annotated_types`, so that pydantic is imported only when a file is validated.
"""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

from krona.messages import shorten

T = TypeVar("T")
INF = float("inf")
MAX_FAULTS = 3  # number of faults that an error message lists
READ: dict[str, Any] = {"extra": "allow", "use_attribute_docstrings": True}  # pydantic's configuration of a TypedDict
WRITTEN = {**READ, "json_schema_extra": {"additionalProperties": False}}  # this version writes no other keys


class Exactly:
    """The annotation for a number that pydantic does not convert from another type, such as text."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), "strict": True}


Flag = Annotated[bool, Exactly()]
Integer = Annotated[int, Exactly()]
Count = Annotated[Integer, Ge(0), Lt(2**63)]
Number = Annotated[float, Exactly(), Gt(-INF), Lt(INF)]
Positive = Annotated[Number, Ge(0), Le(1e18)]  # larger seconds or bytes are damage, and would overflow in sums
Score = Annotated[Number, Ge(-100.000001), Le(100.000001)]
Words = dict[str, Any]


@dataclass(frozen=True)
class CheckedAs:
    """The annotation for a plain dict that pydantic validates as the TypedDict ``form``."""

    form: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(self.form)


def written(form: type[T]) -> type[T]:
    """Mark a TypedDict as a part of a result that krona writes. Unknown keys are accepted when a result is read."""
    form.__pydantic_config__ = WRITTEN  # type: ignore[attr-defined]
    return form


def read(form: type[T]) -> type[T]:
    """Mark a TypedDict as a part of the config. Only its keys are checked, because reports read no other keys."""
    form.__pydantic_config__ = READ  # type: ignore[attr-defined]
    return form


def find_faults(model: Any, content: dict[str, Any]) -> list[str]:
    """Return messages for the first fields of a file that are missing, unknown or of a wrong type for ``model``."""
    from pydantic import ValidationError

    try:
        model.validate_python(content)
    except ValidationError as error:
        return list_faults(error)
    return []


def list_faults(error: Any) -> list[str]:
    """Return messages for the first fields in a ValidationError of pydantic."""
    found = error.errors(include_url=False, include_context=False)
    named = [_describe(one) for one in found[:MAX_FAULTS]]
    return named + ([f"{len(found) - MAX_FAULTS} more"] if len(found) > MAX_FAULTS else [])


def _describe(fault: Any) -> str:
    place = shorten(".".join(map(str, fault["loc"])))
    match fault["type"]:
        case "missing":
            return f"{place} is missing"
        case "unexpected_keyword_argument":
            return f"{place} is unknown"
        case "json_invalid":
            return str(fault["msg"])
    return f"{place} is {shorten(repr(fault['input']))}: {fault['msg'].removeprefix('Input ')}"
