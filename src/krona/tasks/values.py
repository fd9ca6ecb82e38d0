"""The values of a row: texts, labels, and the numbers of a regression."""

import datetime
import math
from decimal import ROUND_HALF_EVEN, Decimal

from krona.messages import shorten

LARGEST = 1e15  # of a regression's targets: beyond it a float has no decimals
TEXTS = (str, int, Decimal, datetime.date, datetime.time)  # types of a text column; also finite floats
NOT_TEXTS = {dict: "an object", list: "a list", bytes: "bytes"}


class BadRowError(Exception):
    """An error in one row. The reader adds the file and the line. kind: a short name by which errors are counted."""

    def __init__(self, what: str, *, kind: str) -> None:
        super().__init__(what)
        self.kind = kind


def read_text(name: str, value: object) -> str:
    """Return the text of a column's value. Raises BadRowError if it is missing, not a text or not a finite number."""
    if type(value) is str:
        return value
    if value is None:
        raise BadRowError(f"the column '{name}' is empty (null)", kind="no text")
    if isinstance(value, TEXTS) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    words = next((words for kind, words in NOT_TEXTS.items() if isinstance(value, kind)), None)
    what = f"{words}, not text: {shorten(value)}" if words else f"{str(value).replace('nan', 'NaN')}, not text"
    raise BadRowError(f"the column '{name}' holds {what}", kind="no text")


def read_label(value: object) -> str:
    """Return a label as text: ``true`` for True, ``1`` for 1.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def read_number(value: object) -> str:
    """Return a number with one decimal, ties to even as in numpy: the same for "2.45", a float64 and a float32."""
    try:
        number = float(str(value).strip())
    except ValueError:
        number = math.nan
    if not abs(number) < LARGEST:
        raise BadRowError(f"label '{shorten(value)}' is not a number (below {LARGEST:.0e})", kind="label is no number")
    rounded = Decimal(repr(round(number, 4))).quantize(Decimal("0.1"), rounding=ROUND_HALF_EVEN)
    return str(rounded + Decimal("0.0"))  # -0.0 becomes 0.0
