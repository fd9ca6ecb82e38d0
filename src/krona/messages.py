"""The exception for user errors, and wording that messages share."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

# C0 without tab and line end, DEL, C1, and what turns the direction of a line: a terminal obeys them
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


PASSWORD = re.compile(r"(\w://[^/@:\s]*:)[^/@\s]+@")


class KronaError(Exception):
    """Wrong input or a missing resource. The message says what is wrong, where, and how to mend it.

    The command line prints the message without a stack trace and exits with 1. What it quotes may come from any file:
    control characters are shown (`visible`), as a terminal would obey them.
    """

    def __str__(self) -> str:
        return visible(super().__str__())


def visible(text: str) -> str:
    """The text with control characters (but line ends and tabs) and unpaired surrogates as ``\\x1b``."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def amount(count: int, noun: str) -> str:
    """``1 run``, ``12 runs``, ``1,008 runs``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def listed(names: list[str]) -> str:
    """``train``, ``train and dev``, ``train, dev and test``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def first_few(lines: list[str], most: int) -> list[str]:
    """The first ``most`` of them, and how many more there are."""
    return lines if len(lines) <= most + 1 else [*lines[:most], f"… and {len(lines) - most} more of these"]


def shortened(value: object, width: int = 60) -> str:
    """A value in one line of at most ``width`` characters that can be printed, for a message that quotes it."""
    text = str(value).replace("\n", "\\n").encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= width else f"{text[: width - 1]}…"


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """`did you mean 'label'? (there are: idx, label)`, or `there are idx, label` where nothing is near."""
    known = [shortened(name) for name in names]
    folded = {name.casefold(): name for name in known}
    near = get_close_matches(wrong.casefold(), list(folded), n=1, cutoff=0.6)
    there = shortened(", ".join(known), 1000) or "none"
    return f"did you mean '{folded[near[0]]}'? (there are: {there})" if near else f"there are {there}"


def file_name(what: str, value: str | None, *, forbidden: str = "/\\", longest: int = 100) -> None:
    """Raise `KronaError` for a name of a sweep, a study or a run that is none: it becomes part of a file's name."""
    if value is None:
        return
    if value.startswith((".", "-")) or CONTROL.search(value) or "\t" in value or "\n" in value:
        raise KronaError(
            f"{what}={shortened(value)!r}: it is a name, not a path; it begins with a letter, a digit or _ and has no "
            "control characters"
        )
    plain_name(what, value, forbidden=forbidden, longest=longest)


def without_password(value: Any) -> Any:
    """The value, and all in it, with ``***`` in the place of a URL's password."""
    if isinstance(value, Mapping):
        return {key: without_password(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_password(item) for item in value]
    return PASSWORD.sub(r"\1***@", value) if isinstance(value, str) else value


def plain_name(what: str, value: str | None, *, forbidden: str, longest: int = 128) -> None:
    """Raise `KronaError` if a name from the user has characters or a length that the tracker forbids."""
    if value is None:
        return
    found = sorted(set(re.findall(f"[{re.escape(forbidden)}]", value)))
    if found:
        raise KronaError(f"{what}={value!r}: {' '.join(found)} may not be in it; letters, digits, - _ and . may")
    if not value.strip() or len(value) > longest:
        raise KronaError(f"{what}={value!r}: 1 to {longest} characters, this has {len(value)}")
