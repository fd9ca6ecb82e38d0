"""A picture: a title, sentences and charts below one another, as one SVG file."""

import html
import re
import textwrap
from collections.abc import Iterable, Sequence

from krona.report.charts.looks import INK, PAPER, SOFT, Look, dark_style

WIDTH, MARGIN, GAP = 760, 20, 12
LETTER = 6.7  # mean width of a letter of a sentence
Part = str | Sequence[str]  # a sentence, or charts (SVG elements) side by side


def picture(title: str, parts: Iterable[Part], looks: Iterable[Look]) -> str:
    """Return an SVG file. looks: those of its charts."""
    y = 26.0
    drawn = [_text(y, title, INK, "font-size:15px;font-weight:600")]
    for part in parts:
        if isinstance(part, str):
            for line in textwrap.wrap(part, int((WIDTH - 2 * MARGIN) / LETTER)):
                y += 18
                drawn.append(_text(y, line, SOFT, "font-size:12.5px"))
            y += 4
        elif part:
            y += 10
            drawn += _side_by_side(part, y)
            y += max(_size(one)[1] for one in part)
    height = y + 14
    back = f'<rect width="{WIDTH}" height="{height:g}" rx="6" style="fill: {PAPER.light}"/>'
    return (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img" aria-label="{html.escape(title)}">'
        f"<style>text{{font-family:system-ui,sans-serif}}{dark_style(looks)}</style>{back}{''.join(drawn)}</svg>\n"
    )


def legend(entries: Sequence[tuple[str, Look]]) -> str:
    """Return a line of marks with their names as an SVG element."""
    spans = "".join(
        f'<tspan style="fill: {look.light}">{look.sign}</tspan> {html.escape(name)}   ' for name, look in entries
    )
    return f'<svg viewBox="0 0 {WIDTH} 20"><text x="{MARGIN - GAP}" y="14" xml:space="preserve" style="font-size:12px; fill: {SOFT.light}">{spans}</text></svg>'


def chart_width(count: int) -> float:
    """Return the width of one of ``count`` charts side by side."""
    return (WIDTH - 2 * GAP - GAP * (count - 1)) / count


def _side_by_side(charts: Sequence[str], y: float) -> list[str]:
    found, x = [], float(GAP)
    for chart in charts:
        width, height = _size(chart)
        place = f'<svg x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        found.append(chart.replace("<svg ", place, 1))
        x += width + GAP
    return found


def _size(chart: str) -> tuple[float, float]:
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', chart)
    assert found is not None
    return float(found[1]), float(found[2])


def _text(y: float, value: str, look: Look, style: str) -> str:
    return f'<text x="{MARGIN}" y="{y:g}" style="{style}; fill: {look.light}">{html.escape(value)}</text>'
