"""Plain values against type annotations."""

from typing import Any

import pytest

from krona.config.types import fits


@pytest.mark.parametrize(
    ("value", "hint", "right"),
    [
        (1, int, True), (True, int, False), (1, float, True), (True, float, False), (1.0, int, False),
        (None, int | None, True), ("a", list[str], False), (["a"], list[str], True), (["a", 1], list[str], False),
        ([1, 2], tuple[int, int], True), ([1, 2, 3], tuple[int, int], False), ([1, 2, 3], tuple[int, ...], True),
        ({}, dict[str, int], True), ([], dict[str, int], False), (True, bool, True), (1, bool, False),
        (True, object, True), (False, None | int, False),
    ],
)  # fmt: skip
def test_values_against_annotations(value: Any, hint: Any, right: bool) -> None:
    assert fits(value, hint) is right
