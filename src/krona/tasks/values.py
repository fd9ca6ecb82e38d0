"""Convert the values of a row: texts, labels, and the numbers of a regression."""

import datetime
import math
from decimal import ROUND_HALF_EVEN, Decimal

from krona.messages import shorten

LARGEST = 1e15  # limit of the targets of a regression, because larger floats have no exact decimal
TEXTS = (str, int, Decimal, datetime.date, datetime.time)  # types that a text column accepts, besides finite floats
NO_LABEL = {"-1": " (GLUE's test sets on the Hub have -1 instead of a label)"}
NOT_TEXTS = {dict: "an object", list: "a list", bytes: "bytes"}


class BadRowError(Exception):
    """An error in one row. Errors are counted by ``kind``. The reader of the file adds its name and the line."""

    def __init__(self, what: str, *, kind: str) -> None:
        super().__init__(what)
        self.kind = kind


def read_text(name: str, value: object) -> str:
    """Return a column's value as text. Raise `BadRowError` unless it is a text, a date or a finite number."""
    if type(value) is str:
        return value
    if value is None:
        raise BadRowError(f"the column '{name}' is empty (null)", kind="no text")
    if isinstance(value, TEXTS) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    words = next((words for kind, words in NOT_TEXTS.items() if isinstance(value, kind)), None)
    what = f"{words}, not text: {shorten(value)}" if words else f"{str(value).replace('nan', 'NaN')}, not text"
    raise BadRowError(f"the column '{name}' contains {what}", kind="no text")


def read_label(value: object) -> str:
    """Return a label as text, for example ``true`` for True and ``1`` for 1.0. Raise `BadRowError` for None."""
    _require_label(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def read_number(value: object) -> str:
    """Return a number as text with one decimal. The text "2.45", a float64 and a float32 give the same result.

    Ties are rounded to the even digit, as in numpy. Raise `BadRowError` if the value is too large or not a number.
    """
    _require_label(value)
    text = str(value).strip()
    try:
        number = math.nan if "_" in text else float(text)  # Python reads 1_0 as 10
    except ValueError:
        number = math.nan
    if not abs(number) < LARGEST:
        limit = f" below {LARGEST:.0e}" if abs(number) >= LARGEST else ""
        raise BadRowError(f"label '{shorten(value)}' is not a number{limit}", kind="label is no number")
    rounded = Decimal(repr(round(number, 4))).quantize(Decimal("0.1"), rounding=ROUND_HALF_EVEN)
    return str(rounded + Decimal("0.0"))  # -0.0 becomes 0.0


def _require_label(value: object) -> None:
    if value is None:
        raise BadRowError("the label is empty (null)", kind="no label")
