"""A count and what is counted, as one reads it."""


def amount(count: int, noun: str) -> str:
    """``1 run``, ``12 runs``, ``1,008 runs``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
