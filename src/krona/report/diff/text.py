"""A comparison as plain text for a terminal of any width."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, zip_longest

from krona.messages import visible
from krona.report.diff.methods import MethodDiff
from krona.report.diff.runs import Change, Diff
from krona.runs.predictions import decode_label, label_words

MISSING = "—"
NARROWEST = 20


def render(found: Diff | MethodDiff, *, width: int | None = 100, examples: int = 5) -> str:
    """Either comparison; of two runs at most ``examples`` changed ones. ``width``: of a terminal; None: unwrapped."""
    lines = _methods(found, width) if isinstance(found, MethodDiff) else _runs(found, width, examples)
    return visible("\n".join(line.rstrip() for line in lines)) + "\n"


def _runs(found: Diff, width: int | None, examples: int) -> list[str]:
    a, b = found.a.result, found.b.result
    lines = [f"A  {a.run_id}", f"B  {b.run_id}", "", "Settings that differ"]
    settings = [(name, _setting(name, x), _setting(name, y)) for name, x, y in found.settings]
    lines += _columns([("", "A", "B"), *settings], width) if settings else ["  none: the same run twice"]
    lines += ["", "Scores"]
    rows = [(name, _number(x), _number(y), _gap(x, y)) for name, x, y in found.scores]
    lines += _columns([("", "A", "B", "B − A"), *rows], width)
    lines += ["", "Paired test", *_wrapped(_tested(found), width)]
    if found.changes:
        counts = Counter(map(_kind, found.changes))  # they are in the order of kinds
        counted = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        lines += ["", *_wrapped(f"Examples with another answer: {len(found.changes)} ({counted})", width, "")]
        lines += [line for kind in _shared_out(found, examples) for line in _example(found, kind, width)]
        if len(found.changes) > examples:
            more = len(found.changes) - examples
            lines += _wrapped(f"… and {more} more: --examples {len(found.changes)} shows all", width)
    if found.without_texts:
        lines += ["", *_wrapped(found.without_texts, width)]
    return lines


def _shared_out(found: Diff, examples: int) -> list[Change]:
    """At most ``examples`` changes, spread evenly over the kinds, in their order."""
    kinds = [list(group) for _, group in groupby(found.changes, key=_kind)]
    turns = [change for turn in zip_longest(*kinds) for change in turn if change is not None]
    chosen = {id(change) for change in turns[:examples]}
    return [change for change in found.changes if id(change) in chosen]


def _kind(change: Change) -> str:
    return "error changed" if change.verdict.startswith("error") else change.verdict


def _example(found: Diff, change: Change, width: int | None) -> list[str]:
    words = label_words(found.a.result.config["task"])
    truth, a, b = (decode_label(text, words) for text in (change.target, change.a, change.b))
    head = f"{change.verdict}  {change.id}: {truth} is right; A says {a}, B says {b}"
    return [*_wrapped(head, width), *_wrapped(change.source, width, "      ", most=6)]


def _methods(both: MethodDiff, width: int | None) -> list[str]:
    """A line a task, a heading a section."""
    a, b = both.a, both.b
    lines: list[str] = []
    for section in dict.fromkeys(row.section for row in both.tasks):
        table = [("", a, b, f"{b} − {a}", "p (Holm)", "seeds", "")]
        for row in (row for row in both.tasks if row.section == section):
            p = MISSING if row.p is None else _probability(row.p)
            values = (row.task, _number(row.a), _number(row.b), _gap(row.a, row.b), p, str(row.seeds), row.remark)
            table.append(values)
        lines += [section, *_columns(table, width), ""]
    lines += _wrapped(
        "p: paired randomisation test on each task's own metric, 10,000 swaps of examples, all seeds together; Holm"
        " over all tasks shown.",
        width,
    )
    return lines + [line for problem in both.problems for line in _wrapped(f"Not used: {problem}", width)]


def _tested(found: Diff) -> str:
    if found.untested:
        return f"None: {found.untested}."
    metric = " and ".join(found.a.metrics)
    assert found.p is not None
    words = [f"Randomisation on {metric}, 10,000 swaps: p {_probability(found.p, '= ')}."]
    if found.only_a is not None:
        words.insert(0, f"Only A right: {found.only_a}; only B right: {found.only_b}.")
    if found.mcnemar is not None:
        words.insert(1, f"Exact McNemar: p {_probability(found.mcnemar, '= ')}.")
    return " ".join(words)


def _probability(p: float, equals: str = "") -> str:
    """Four decimals; never 0, which no test of 10,000 swaps can give."""
    return "< 0.0001" if p < 0.0001 else f"{equals}{p:.4f}"


def _setting(name: str, value: str) -> str:
    """What stands for nothing in a config, in words."""
    if (name, value) == ("trainer.max_steps", "-1"):
        return "no limit"
    return "none" if value == "null" else value


def _columns(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Aligned by the longest entry; where a line is too long for the width, an entry a line below the row's name."""
    count = max(map(len, rows))
    widths = [max(len(str(row[i])) for row in rows if i < len(row)) for i in range(count)]
    if width is None or sum(widths) + 2 * count <= width:
        return ["  " + "  ".join(str(cell).ljust(widths[i]) for i, cell in enumerate(row)) for row in rows]
    heading, *others = rows
    lines = []
    for name, *cells in others:
        lines += _wrapped(name, width)
        for label, cell in zip(heading[1:], cells, strict=True):
            lines += _wrapped(f"{label} {cell}".strip(), width, "    ") if cell else []
    return lines


def _wrapped(text: str, width: int | None, indent: str = "  ", *, most: int | None = None) -> list[str]:
    """Lines of at most ``width``; with ``most``, no more of them, an ellipsis where the rest would be."""
    if width is None:
        return [indent + text]
    narrow = indent if width > 2 * NARROWEST else indent[:1]
    width = max(width, NARROWEST)
    return textwrap.wrap(text, width, initial_indent=narrow, subsequent_indent=narrow, max_lines=most, placeholder=" …")


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _gap(a: float | None, b: float | None) -> str:
    return "" if a is None or b is None else f"{b - a:+.2f}".replace("-", "−")
