"""Plain values against type annotations."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge

from krona.config.types import expected


@pytest.mark.parametrize(
    ("value", "hint", "right"),
    [
        (1, int, True), (True, int, False), (1, float, True), (True, float, False), (1.0, int, False),
        (None, int | None, True), ("a", list[str], False), (["a"], list[str], True), (["a", 1], list[str], False),
        ([1, 2], tuple[int, int], True), ([1, 2, 3], tuple[int, int], False), ([1, 2, 3], tuple[int, ...], True),
        ({}, dict[str, int], True), ([], dict[str, int], False), (True, bool, True), (1, bool, False),
        (True, object, True), (False, None | int, False), ("a", Sequence[str], False), (["a"], Sequence[str], True),
        (0, Annotated[int, Ge(1)] | None, False), (None, Annotated[int, Ge(1)] | None, True),
        (float("inf"), Annotated[float, Ge(0)], False), (float("nan"), float, False), (True, Literal["true"], False),
    ],
)  # fmt: skip
def test_values_against_annotations(value: Any, hint: Any, right: bool) -> None:
    assert (expected(value, hint) is None) is right
