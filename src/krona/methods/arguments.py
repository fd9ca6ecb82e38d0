"""Check the arguments of a branch. An error message contains ``method.<key>``, the value and the allowed values."""

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from krona.messages import KronaError, did_you_mean

NON_LINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {  # see Table 6 of the KronA paper
    "mish": F.mish,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


def check_float(key: str, value: object) -> float:
    """Check that the value is a finite number, and return it as a float.

    Raises:
        KronaError: the value is not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise KronaError(f"method.{key}={value!r} is not a finite number.")
    return float(value)


def check_int(key: str, value: object, *, low: int, high: int | None = None, why: str = "") -> int:
    """Check that the value is a whole number within limits, and return it.

    Args:
        why: the reason for the limits, which the error message contains.

    Raises:
        KronaError: the value is not a whole number from ``low`` to ``high``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise KronaError(f"method.{key}={value!r} is not a whole number {limits}{why and f' ({why})'}.")
    return value


def check_choice(key: str, value: object, options: Iterable[str | None]) -> None:
    """Check that the value is one of the options.

    Raises:
        KronaError: the value is not an option. The message shows the option None as null.
    """
    known = list(options)
    if value not in known:
        words = ["null" if option is None else option for option in known]
        raise KronaError(f"method.{key}={value!r}: {did_you_mean(str(value), words)}")


def check_divisor(key: str, value: object, d_in: int, d_out: int) -> int:
    """Check that the value divides both widths of the layer, and return it.

    Raises:
        KronaError: the value is not a whole number that divides both widths of the layer.
    """
    number = check_int(key, value, low=1)
    if d_in % number or d_out % number:
        raise KronaError(
            f"method.{key}={number} does not divide both widths of a layer {d_in} → {d_out}. Their greatest common "
            f"divisor is {math.gcd(d_in, d_out)}."
        )
    return number


def get_non_linearity(name: str) -> Callable[[Tensor], Tensor]:
    """Return the non-linear function with this name.

    Raises:
        KronaError: the name is unknown.
    """
    check_choice("non_linearity", name, NON_LINEARITIES)
    return NON_LINEARITIES[name]
