"""Convert the values of a row: texts, labels, and the numbers of a regression."""

import datetime
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np

from krona.messages import join_names, shorten

LARGEST = 1e15  # the targets of a regression must have a smaller absolute value
TEXTS = (str, int, Decimal, datetime.date, datetime.time)  # types that a text column accepts, besides finite floats
NO_LABEL = {"-1": " (GLUE's test sets on the Hub have -1 instead of a label)"}


class BadRowError(Exception):
    """An error in one row. Errors are counted by ``kind``. Callers add the file name and the line number."""

    def __init__(self, what: str, *, kind: str) -> None:
        super().__init__(what)
        self.kind = kind


def read_text(name: str, value: object) -> str:
    """Return a column's value as text: a text, a date or a finite number. For a missing value (null), return "".

    Raises:
        BadRowError: the value has another type, or is a number that is not finite.
    """
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, TEXTS) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise BadRowError(f"the column '{name}' contains {shorten(value)}, not text", kind="no text")


def mark_spans(text: str, spans: Sequence[tuple[str, int, str]]) -> str:
    """Return a text with marks around its spans, such as ``* Ann * left when # she # was tired``.

    Args:
        spans: the text of each span, the index of its first word, and its mark. If the text has another word at the
            index, as in a few official rows, the nearest occurrence of the span is marked.

    Raises:
        BadRowError: the text does not contain a span.
    """
    edits = []
    for span, index, mark in spans:
        matches = [match.span() for match in re.finditer(rf"(?<!\w){re.escape(span)}(?!\w)", text, re.IGNORECASE)]
        if not span or not matches:
            raise BadRowError(f"the text does not contain the span '{shorten(span)}'", kind="no span")
        start, end = min(matches, key=lambda bounds: abs(len(text[: bounds[0] + 1].split()) - 1 - index))
        edits.append((start, end, mark))
    for start, end, mark in sorted(edits, reverse=True):
        text = f"{text[:start]}{mark} {text[start:end]} {mark}{text[end:]}"
    return text


def read_label(value: object) -> str:
    """Return a label as text, for example ``true`` for True.

    Raises:
        BadRowError: the label is missing.
    """
    if isinstance(value, list):
        what = f"the label is a list: {shorten(value)}. For several labels per row, set task.kind=multilabel"
        raise BadRowError(what, kind="label is a list")
    if text := text_or_empty(value):
        return text
    raise BadRowError("the label is empty", kind="no label")


def split_labels(value: object, separator: str) -> list[object]:
    """Return the labels of a row: the items of a list, or the parts of a text. A missing value has no labels."""
    if isinstance(value, list):
        return value
    return [part.strip() for part in text_or_empty(value).split(separator) if part.strip()]


def plain_value(value: object) -> str | int | float | bool | None:
    """Return a value that JSON can store: a text, a finite number, true, false or null."""
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def text_or_empty(value: object) -> str:
    """Return a value as text without blanks around it: ``true`` for True, and "" for a missing value (null)."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value).strip()


def group_similar(labels: Iterable[str]) -> list[str]:
    """Return the groups of labels that differ only in case or blanks, each as text, such as ``'Bug' and 'bug'``."""
    groups = defaultdict[str, list[str]](list)
    for label in labels:
        groups[" ".join(label.casefold().split())].append(f"'{label}'")
    return [join_names(group) for group in groups.values() if len(group) > 1]


def read_number(value: object) -> str:
    """Return a number as the shortest decimal text that represents its float32 value.

    The text "2.45" and the float64 or float32 value 2.45 give the same result, as do 5 and "5.000".

    Raises:
        BadRowError: the value is too large or not a number.
    """
    text = read_label(value)
    try:
        number = math.nan if "_" in text else float(text)  # Python reads 1_0 as 10
    except ValueError:
        number = math.nan
    if not abs(number) < LARGEST:
        limit = f" below {LARGEST:.0e}" if abs(number) >= LARGEST else ""
        raise BadRowError(f"label '{shorten(value)}' is not a number{limit}", kind="label is no number")
    return np.format_float_positional(np.float32(number) + np.float32(0), trim="0")  # -0.0 becomes 0.0


def round_number(text: str, decimals: int) -> str:
    """Return the text of a number with this number of decimals. Ties are rounded to the even digit, as in numpy."""
    digit = Decimal(1).scaleb(-decimals)
    return str(Decimal(text).quantize(digit, rounding=ROUND_HALF_EVEN) + 0 * digit)  # -0.0 becomes 0.0
