"""Build the smallest parts of the HTML page. All text is escaped, so a name can't be read as markup."""

import html
from collections.abc import Iterable

from krona.report.notes import Note
from krona.report.wording import tagged_label, tagged_sentence


def escape(value: str) -> str:
    return html.escape(value, quote=True)


def label(name: str) -> str:
    """Return a method's label with its superscript and subscript."""
    return tagged_label(name, escape)


def sentence(line: str, command: str = "") -> str:
    """Return a sentence and the command after it. Labels of methods get superscripts and subscripts."""
    words = tagged_sentence(line, escape)
    return f"{words} <code>{escape(command)}</code>" if command else words


def note(one: Note) -> str:
    """Return the HTML of a note. A warning has its own color."""
    shown = sentence(one.text, one.command)
    return f'<span class="warning">{shown}</span>' if one.kind == "warning" else shown


def items(lines: Iterable[str]) -> str:
    """Return an HTML list of these items. Without items, return an empty text."""
    found = "".join(f"<li>{line}</li>" for line in lines)
    return f'<ul class="notes">{found}</ul>' if found else ""


def scroll(name: str, content: str) -> str:
    """Return a region of the page that scrolls if its content is too wide."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{content}</div>'


def folded(summary: str, content: str) -> str:
    """Return content that a click on the summary unfolds. Without content, return an empty text."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>" if content else ""
