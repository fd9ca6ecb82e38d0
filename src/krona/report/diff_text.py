"""A comparison as plain text for a terminal of any width."""

import textwrap
from collections.abc import Sequence

from krona.report.diff import Diff
from krona.report.method_diff import MethodDiff

MISSING = "—"


def render(found: Diff | MethodDiff, *, width: int = 100, limit: int = 20) -> str:
    """Either comparison."""
    if isinstance(found, MethodDiff):
        return render_methods(found, width=width)
    return render_diff(found, width=width, limit=limit)


def render_diff(found: Diff, *, width: int = 100, limit: int = 20) -> str:
    """Settings, scores, the test and at most ``limit`` changed examples."""
    width = max(width, 40)
    a, b = found.a.result, found.b.result
    lines = [f"a  {a.run_id}", f"b  {b.run_id}", "", "Settings that differ"]
    lines += _columns([("", "a", "b"), *found.settings], width) if found.settings else ["  none: the same run twice"]
    lines += ["", "Scores"]
    rows = [(name, _number(x), _number(y), _gap(x, y)) for name, x, y in found.scores]
    lines += _columns([("", "a", "b", "b − a"), *rows], width)
    lines += ["", "Paired test", *_wrapped(_tested(found), width)]
    if found.changes:
        lines += ["", f"Examples that changed: {len(found.changes)} ({_counted(found)})"]
        for change in found.changes[:limit]:
            answers = f"target {change.target!r}, a {change.a!r}, b {change.b!r}"
            lines.append(f"  {change.verdict:<10} #{change.id}: {answers}")
            lines += textwrap.wrap(change.source, width - 6, initial_indent=" " * 6, subsequent_indent=" " * 6)[:4]
        if len(found.changes) > limit:
            lines.append(f"  … and {len(found.changes) - limit} more: --limit {len(found.changes)} shows all")
    if found.without_texts:
        lines += ["", *_wrapped(found.without_texts, width)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def render_methods(both: MethodDiff, *, width: int = 100) -> str:
    """A line a task, a heading a section."""
    a, b = both.a, both.b
    lines: list[str] = []
    for section in dict.fromkeys(row.section for row in both.tasks):
        found = [row for row in both.tasks if row.section == section]
        table = [("", a, b, f"{b} − {a}", "p (Holm)", "seeds", "")]
        for row in found:
            p = MISSING if row.p is None else f"{row.p:.4f}"
            values = (row.task, _number(row.a), _number(row.b), _gap(row.a, row.b), p, str(row.seeds), row.remark)
            table.append(values)
        lines += [section, *_columns(table, width), ""]
    lines += _wrapped(
        "p: paired randomisation test on each task's own metric, 10,000 swaps of examples, all seeds together; Holm"
        " over all tasks shown.",
        width,
    )
    lines += [line for problem in both.problems for line in _wrapped(f"Not used: {problem}", width)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _tested(found: Diff) -> str:
    if found.untested:
        return f"None: {found.untested}."
    metric = " and ".join(found.a.metrics)
    words = [f"Randomisation on {metric}, 10,000 swaps: p = {found.p:.4f}."]
    if found.only_a is not None:
        words.insert(0, f"Right only in a: {found.only_a}; only in b: {found.only_b}.")
    if found.mcnemar is not None:
        words.insert(1, f"Exact McNemar: p = {found.mcnemar:.4f}.")
    return " ".join(words)


def _counted(found: Diff) -> str:
    kinds = [change.verdict if not change.verdict.startswith("error") else "error changed" for change in found.changes]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _columns(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Aligned by the longest entry; the last column is cut to the width by folding."""
    count = max(map(len, rows))
    widths = [max(len(str(row[i])) for row in rows if i < len(row)) for i in range(count)]
    lines = []
    for row in rows:
        line = "  " + "  ".join(str(cell).ljust(widths[i]) for i, cell in enumerate(row))
        lines += textwrap.wrap(line.rstrip(), width, subsequent_indent="      ", drop_whitespace=False) or [""]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ")


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _gap(a: float | None, b: float | None) -> str:
    return "" if a is None or b is None else f"{b - a:+.2f}".replace("-", "−")
