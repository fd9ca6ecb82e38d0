"""Format the comparison of two runs or methods as plain text, for a terminal of any width."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, zip_longest

from krona.formatting import NOTHING, format_p, table
from krona.messages import visible
from krona.report.diff import Change, MethodDiff, RunDiff
from krona.runs.predictions import decode_label, label_words

NARROWEST = 20


def render(found: RunDiff | MethodDiff, *, width: int | None = 100, examples: int = 5) -> str:
    """Return a comparison as text.

    Args:
        width: the width of the terminal. None means that lines are not wrapped.
        examples: show at most this number of changed examples of two runs.
    """
    lines = _methods(found, width) if isinstance(found, MethodDiff) else _runs(found, width, examples)
    return visible("\n".join(line.rstrip() for line in lines)) + "\n"


def _runs(found: RunDiff, width: int | None, examples: int) -> list[str]:
    a, b = found.a.result, found.b.result
    lines = [f"A  {a.run_id}", f"B  {b.run_id}", "", "Settings that differ"]
    settings = [(name, _setting(name, x), _setting(name, y)) for name, x, y in found.settings]
    lines += _table(("", "A", "B"), settings, width) if settings else ["  none: both runs have the same settings"]
    rows = [(name, _number(x), _number(y), _gap(x, y)) for name, x, y in found.scores]
    lines += ["", "Scores", *_table(("", "A", "B", "B − A"), rows, width)]
    lines += ["", "Paired test", *_wrap(_describe_test(found), width)]
    if found.changes:
        counts = Counter(map(_kind, found.changes))  # the changes are sorted by kind
        counted = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        lines += ["", *_wrap(f"Examples with different predictions: {len(found.changes)} ({counted})", width, "")]
        lines += [line for change in _spread_evenly(found, examples) for line in _example(found, change, width)]
        if len(found.changes) > examples:
            more = len(found.changes) - examples
            lines += _wrap(f"… and {more} more. To see all, use --examples {len(found.changes)}.", width)
    if found.without_texts:
        lines += ["", *_wrap(found.without_texts, width)]
    return lines


def _spread_evenly(found: RunDiff, examples: int) -> list[Change]:
    """Return at most ``examples`` changes in their order, with the same number of each kind if possible."""
    kinds = [list(group) for _, group in groupby(found.changes, key=_kind)]
    turns = [change for turn in zip_longest(*kinds) for change in turn if change is not None]
    chosen = {id(change) for change in turns[:examples]}
    return [change for change in found.changes if id(change) in chosen]


def _kind(change: Change) -> str:
    return "error changed" if change.verdict.startswith("error") else change.verdict


def _example(found: RunDiff, change: Change, width: int | None) -> list[str]:
    words = label_words(found.a.result.config["task"])
    truth, a, b = (decode_label(text, words) for text in (change.target, change.a, change.b))
    head = f"{change.verdict}  {change.id}: target {truth}, A predicts {a}, B predicts {b}"
    return [*_wrap(head, width), *_wrap(change.source, width, "      ", most=6)]


def _methods(both: MethodDiff, width: int | None) -> list[str]:
    a, b = both.a, both.b
    lines: list[str] = []
    for section, tasks in groupby(both.tasks, key=lambda row: row.section):
        rows = [
            (row.task, _number(row.a), _number(row.b), _gap(row.a, row.b),
             NOTHING if row.p is None else format_p(row.p), str(row.seeds), row.remark)
            for row in tasks
        ]  # fmt: skip
        lines += [section, *_table(("", a, b, f"{b} − {a}", "p (Holm)", "seeds", "remark"), rows, width), ""]
    lines += _wrap(
        "p is from a paired randomisation test on the task's metric, with 10,000 swaps of examples and all seeds"
        " together. Holm's correction covers all tasks shown.",
        width,
    )
    return lines + [line for problem in both.problems for line in _wrap(f"Not used: {problem}", width)]


def _describe_test(found: RunDiff) -> str:
    if found.untested:
        return f"None: {found.untested}."
    assert found.p is not None
    words = [] if found.only_a is None else [f"Only A right: {found.only_a}; only B right: {found.only_b}."]
    words += [] if found.mcnemar is None else [f"Exact McNemar: p {_equal(found.mcnemar)}."]
    words.append(f"Randomisation test on {' and '.join(found.a.metrics)}, 10,000 swaps: p {_equal(found.p)}.")
    return " ".join(words)


def _equal(p: float) -> str:
    shown = format_p(p)
    return shown if shown.startswith("<") else f"= {shown}"


def _setting(name: str, value: str) -> str:
    if (name, value) == ("trainer.max_steps", "-1"):
        return "no limit"
    return "none" if value == "null" else value


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the lines of an indented table. If it is too wide, each row is written as a record of several lines."""
    lines = []
    for line in table(headings, rows, width=None if width is None else width - 2, left=headings).plain.splitlines():
        indent = "  " + line[: len(line) - len(line.lstrip())]
        fits = width is None or len(line) + 2 <= width
        lines += [f"  {line}"] if fits else _wrap(line.strip(), width, indent)
    return lines


def _wrap(text: str, width: int | None, indent: str = "  ", *, most: int | None = None) -> list[str]:
    """Return lines of at most ``width`` characters. After ``most`` lines, the text is cut with an ellipsis."""
    if width is None:
        return [indent + text]
    narrow = indent if width > 2 * NARROWEST else indent[:1]
    width = max(width, NARROWEST)
    return textwrap.wrap(text, width, initial_indent=narrow, subsequent_indent=narrow, max_lines=most, placeholder=" …")


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _gap(a: float | None, b: float | None) -> str:
    return "" if a is None or b is None else f"{b - a:+.2f}".replace("-", "−")
