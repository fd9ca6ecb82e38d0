"""Define the exception for user errors, and functions that format messages."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

# Characters that control the terminal or hide text: C0 except tab and line end, DEL, C1, unpaired surrogates, and
# characters that are invisible or change the direction of the text. Emoji and some scripts need the zero-width joiner
# and non-joiner, so both are kept between two characters that are not ASCII.
CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


DISTRIBUTION = "krona-pet"  # the name on the package index, where `krona` is another project


class KronaWarning(UserWarning):
    """A warning that the commands print as a note."""


class KronaError(Exception):
    """The error for wrong input or a missing resource. The message says what is wrong, where, and what to do.

    The command line prints the message without a stack trace and exits with 1. A message may quote text from any file,
    so control characters are escaped.
    """

    def __str__(self) -> str:
        return escape_control_characters(super().__str__())


class UnreachableError(KronaError):
    """The error if a data set or backbone is not cached and the Hub cannot be reached."""


def escape_control_characters(text: str) -> str:
    """Escape control characters (such as ``\\x1b``) and unpaired surrogates in a text. Keep line ends and tabs."""
    if text.isascii() and text.isprintable():  # a shortcut for most texts
        return text
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def plural(count: int, noun: str) -> str:
    """Return a count and a noun, such as ``1 run``, ``12 runs`` or ``1,008 runs``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, such as ``peft``."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'


def join_names(names: list[str]) -> str:
    """Return the names as text: ``train``, ``train and dev``, or ``train, dev and test``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def first_few(lines: list[str], most: int) -> list[str]:
    """Return the first ``most`` lines and the number of omitted lines, or all lines if only one would be omitted."""
    return lines if len(lines) <= most + 1 else [*lines[:most], f"… and {len(lines) - most} more of these"]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of the error's class if the message is empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def shorten(value: object, width: int = 60) -> str:
    """Return a value as one printable line of at most ``width`` characters, for use in a message."""
    text = str(value).replace("\n", "\\n").encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= width else f"{text[: width - 1]}…"


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """Return `did you mean 'label'? (choose from idx, label)`, or `choose from idx, label` if no name is similar."""
    known = [shorten(name) for name in names]
    choices = f"choose from {shorten(', '.join(known), 1000)}" if known else "there are none"
    folded = {name.casefold(): name for name in known}
    near = get_close_matches(wrong.casefold(), list(folded), n=1)
    return f"did you mean '{folded[near[0]]}'? ({choices})" if near else choices


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the message for an unknown dotted key. ``known`` are the names of the existing keys in its section.

    If ``known`` is a config with sections, and a section has the key, the message names it.
    """
    sections = known if isinstance(known, Mapping) and "." not in key else {}
    near = next((f"{name}.{key}" for name, part in sections.items() if isinstance(part, Mapping) and key in part), None)
    hint = f"did you mean '{near}'?" if near else did_you_mean(key.rpartition(".")[2], sorted(known))
    return f"Unknown key {key}: {hint}"


def check_file_name(key: str, value: str, *, forbidden: str = "/\\", longest: int = 100) -> None:
    """Raise `KronaError` if the name of a sweep, a study or a run cannot be part of a file name."""
    unsuitable = value.startswith((".", "-")) or not value.strip() or len(value) > longest
    if unsuitable or re.search(rf"{CONTROL.pattern}|[\t\n{re.escape(forbidden)}]", value):
        raise KronaError(
            f"{key}={shorten(value)!r} is not a valid name. Use 1 to {longest} letters, digits, - _ and ., and begin "
            "with a letter, a digit or _."
        )


def format_validation_error(error: "ValidationError") -> str:
    """Return the first three errors of a pydantic ``ValidationError`` as text, such as ``seed is missing``."""
    first, more = error.errors(include_url=False)[:3], error.error_count() - 3
    keys = [shorten(".".join(map(str, problem["loc"]))) or "the content" for problem in first]
    lines = [describe_problem(problem, key, problem["input"]) for problem, key in zip(first, keys, strict=True)]
    return "; ".join([*lines, *([f"{more} more"] if more > 0 else [])])


def describe_problem(problem: Mapping[str, Any], key: str, value: object, item: str = "") -> str:
    """Return one error of a pydantic ``ValidationError`` as text, such as ``seed='x' must be a valid integer``.

    If the value is a list, ``item`` identifies the wrong item, with a leading space (`` item 0``).
    """
    match problem["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{key} is unknown"
        case "json_invalid":
            return str(problem["msg"])
        case "value_error":
            return str(problem["ctx"]["error"])
    return f"{key}={shorten(repr(value), 300)}{item} {expected_value(problem)}"


def expected_value(problem: Mapping[str, Any]) -> str:
    """Describe the value that pydantic expected, such as ``must be true or false``."""
    expected = str(problem["msg"]).replace("Input should be", "must be").replace("Input should have", "must have")
    for theirs, ours in (("valid boolean", "true or false"), ("valid array", "a list"), ("valid tuple", "a list")):
        expected = expected.replace(f"a {theirs}", ours)
    return expected
