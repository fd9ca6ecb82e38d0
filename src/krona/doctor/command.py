"""Report of the doctor: all lines, printed on one screen or as JSON."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.text import Text

from krona.doctor.installation import installation, pip
from krona.doctor.line import Line
from krona.doctor.machine import disks, machine
from krona.doctor.runs import runs
from krona.doctor.surroundings import hub_caches, surroundings
from krona.messages import amount
from krona.screen import as_typed, below, say

SHOWN = 5  # lines of one kind on the screen; JSON has all
COLOURS = {"fine": "", "note": "yellow", "broken": "red"}
INDENT = 14


def examine(outputs: Path) -> list[Line]:
    """Everything that the doctor looks at. It reads only."""
    parts: tuple[tuple[str, Callable[[], Iterable[Line]]], ...] = (
        ("installation", installation),
        ("machine", machine),
        ("disk", lambda: disks({"outputs": outputs, **hub_caches()})),
        ("surroundings", lambda: surroundings(os.environ)),
        ("runs", lambda: runs(outputs)),
    )
    return [line for name, part in parts for line in _all(name, part)]


def _all(name: str, part: Callable[[], Iterable[Line]]) -> Iterator[Line]:
    """A part's lines. Where a library can't be imported, that is what is broken."""
    try:
        yield from part()
    except ImportError as error:
        yield Line(name, f"{type(error).__name__}: {error}", "broken", pip("--force-reinstall", error.name or "krona"))
    except OSError as error:
        yield Line(name, f"{type(error).__name__}: {error}", "broken", "mend the file or folder that it names")


def as_json(lines: list[Line], removed: list[Path]) -> str:
    """``broken``: how many; ``lines``: about, text, level (fine, note, broken) and mend; ``removed``: paths."""
    content = {"broken": _broken(lines), "lines": [asdict(line) for line in lines], "removed": list(map(str, removed))}
    return json.dumps(content, indent=1)  # in ASCII: a folder's name may hold anything


def show(lines: list[Line], removed: list[Path], console: Console) -> None:
    """What was removed, the lines, of many of one kind the first, and how much is broken."""
    for path in removed:
        say(console, f"removed {_printable(below(path))}")
    for _, group in groupby(lines, key=lambda line: (line.about, line.level)):
        alike = list(group)
        for line in alike[:SHOWN]:
            say(
                console,
                Text.assemble((f"{line.about:<{INDENT}}", "bold"), (_printable(line.text), COLOURS[line.level])),
            )
            if line.mend:
                say(console, f"{'':<{INDENT}}→ {_printable(as_typed(line.mend))}")
        if len(alike) > SHOWN:
            say(console, f"{'':<{INDENT}}… and {len(alike) - SHOWN} more of these; --json has all")
    notes, broken = sum(line.level == "note" for line in lines), _broken(lines)
    said = f"{amount(broken, 'thing')} broken" if broken else "nothing is broken"
    say(console, f"\n{said}, {amount(notes, 'note')}")


def _printable(text: str) -> str:
    """The text with what no terminal should get, as in a folder's name, written as ``\\x1b``."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _broken(lines: list[Line]) -> int:
    return sum(line.level == "broken" for line in lines)
