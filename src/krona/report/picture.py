"""One SVG of a table for a README or a talk: a line a method, both intervals, the paper's number as a ring."""

import re
from html import escape

from krona.report import text
from krona.report.model import AVERAGE, Cell, Column, Report, Row, Table

WIDTH, LEFT, RIGHT, TOP, STEP = 760, 150, 120, 64, 30
STYLE = """
.ink{fill:#1d1f23}.soft{fill:#5c626d}.line{stroke:#d9dbe0}.mark{fill:#1f5fbf}.seeds{stroke:#1f5fbf}.test{stroke:#9db8e0}
.ring{stroke:#c47a00;fill:none}.bold{font-weight:700}
text{font-family:system-ui,sans-serif;font-size:13px}.title{font-weight:600;font-size:15px}.back{fill:#fff}
@media (prefers-color-scheme:dark){.ink{fill:#e6e7ea}.soft{fill:#a2a8b4}.line{stroke:#343943}.mark{fill:#8ab4ff}
.seeds{stroke:#8ab4ff}.test{stroke:#4a6592}.ring{stroke:#efb118}.back{fill:#15171b}}
"""


def render(report: Report) -> str:
    """The first table that has scores: its average if it has one in a row, else its first task. SVG text."""
    for table in report.tables:
        column = _column(table)
        if table.section is not None and column is not None:
            return _drawn(table, column)
    return _frame(TOP + STEP, [_text(20, 40, report.empty or "No finished run.", "soft")])


def _column(table: Table) -> Column | None:
    columns = sorted(table.columns, key=lambda column: column.key != AVERAGE)
    for column in columns:
        cells = [row.cells.get(column.key) for row in table.rows]
        if column.kind in ("task", "average") and any(cell and cell.value is not None for cell in cells):
            return column
    return None


def _drawn(table: Table, column: Column) -> str:
    rows = [(row, row.cells[column.key]) for row in table.rows if row.cells[column.key].value is not None]
    low, high = _range([cell for _, cell in rows])
    height = TOP + STEP * len(rows) + 56

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    parts = [
        _text(20, 26, f"{column.label}: {table.heading}", "ink title"),
        _text(20, 45, _caption(table, rows), "soft"),
    ]
    bottom = TOP + STEP * len(rows)
    for i in range(6):
        value = low + (high - low) * i / 5
        parts.append(f'<line class="line" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        parts.append(_text(x(value), bottom + 18, f"{value:.0f}", "soft", "middle"))
    for i, (row, cell) in enumerate(rows):
        parts += _row(row, cell, TOP + STEP * i + STEP / 2 - 4, x)
    legend = "upper line: over seeds (Student's t) · lower: over test sets (bootstrap), both 95 %"
    legend += " · ring: the paper" if any(cell.paper is not None for _, cell in rows) else ""
    parts.append(_text(20, bottom + 42, legend, "soft"))
    return _frame(height, parts)


def _row(row: Row, cell: Cell, y: float, x: object) -> list[str]:
    assert callable(x)
    assert cell.value is not None
    parts = [f'<text class="ink" x="20" y="{y + 5}">{_label(row)}</text>']
    for ends, name, width, at in ((cell.test_interval, "test", 3, y + 9), (cell.interval, "seeds", 4, y)):
        if ends is not None:
            a, b = (min(WIDTH - RIGHT, max(LEFT, x(end))) for end in ends)
            parts.append(f'<line class="{name}" x1="{a:.1f}" x2="{b:.1f}" y1="{at}" y2="{at}" stroke-width="{width}"/>')
    parts.append(f'<circle class="mark" cx="{x(cell.value):.1f}" cy="{y}" r="5.5"/>')
    if cell.paper is not None:
        parts.append(f'<circle class="ring" cx="{x(cell.paper):.1f}" cy="{y}" r="6" stroke-width="2"/>')
    shown = f"{text.value(cell)} {text.spread(cell)}".strip()
    parts.append(_text(WIDTH - RIGHT + 12, y + 5, shown, "ink bold" if cell.best or cell.tied else "ink"))
    return parts


def _label(row: Row) -> str:
    """KronA^B_res with its letters raised and lowered; what tells a row from others stands small behind."""
    found = re.fullmatch(r"(\w+?)\^(\w)(?:_(\w+))?", row.label)
    shown = escape(row.label)
    if found:
        word, above, below = found.groups()
        shown = f'{word}<tspan dy="-5" style="font-size:10px">{above}</tspan>'
        shown += f'<tspan dy="8" style="font-size:10px">{below}</tspan>' if below else ""
    return shown + (f'<tspan class="soft" style="font-size:10px"> {escape(row.differs)}</tspan>' if row.differs else "")


def _range(cells: list[Cell]) -> tuple[float, float]:
    """Test intervals and means fit; a wide interval over two seeds is cut."""
    ends = [end for cell in cells for end in (*(cell.test_interval or ()), cell.value, cell.paper) if end is not None]
    low, high = 5 * (min(ends) // 5), 5 * (max(ends) // 5 + 1)
    return low, high


def _caption(table: Table, rows: list[tuple[Row, Cell]]) -> str:
    seeds = sorted({len(cell.seeds) for _, cell in rows})
    count = f"{seeds[0]} seed{'s' * (seeds[0] != 1)}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    caution = table.section.caution if table.section else None
    return f"{count}; bold: not told apart from the best. {caution or ''}".strip()


def _text(x: float, y: float, value: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(value)}</text>'


def _frame(height: float, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img">'
        f"<style>{STYLE}</style>"
        f'<rect class="back" width="{WIDTH}" height="{height:.0f}"/>{"".join(parts)}</svg>\n'
    )
