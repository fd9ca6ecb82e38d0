"""A picture: a title, sentences and charts below one another, as one SVG file."""

import html
import textwrap
from collections.abc import Iterable, Sequence

from krona.report.charts.draw import Chart, draw
from krona.report.charts.looks import INK, PAPER, SOFT, Look, dark_style
from krona.report.charts.rows import RowChart, draw_rows

WIDTH, MARGIN, GAP = 760, 20, 12
LETTER = 6.7  # mean width of a letter of a sentence
Keys = dict[str, Look]
Part = str | Keys | RowChart | Sequence[Chart]  # a sentence, a legend, or charts side by side


def picture(title: str, parts: Iterable[Part], *, headings: bool = True) -> str:
    """Return an SVG file. headings: write the titles of its charts."""
    y = 26.0
    drawn, looks = [_text(y, title, INK, "font-size:15px; font-weight:600")], list[Look]()
    for part in parts:
        if isinstance(part, str):
            for line in textwrap.wrap(part, int((WIDTH - 2 * MARGIN) / LETTER)):
                y += 18
                drawn.append(_text(y, line, SOFT, "font-size:12.5px"))
            y += 4
        elif isinstance(part, dict):
            y += 22
            looks += part.values()
            drawn.append(_legend(y, part))
        elif isinstance(part, RowChart):
            looks += [row.look for row in part.rows]
            svg, height = draw_rows(part, width=WIDTH - 2 * GAP)
            drawn.append(_placed(svg, GAP, y + 10, WIDTH - 2 * GAP, height))
            y += height + 10
        elif part:
            height = 320.0 if len(part) == 1 else 220.0
            width = (WIDTH - GAP) / len(part) - GAP
            for i, chart in enumerate(part):
                looks += [one.look for one in chart.series]
                svg = draw(chart, width=width, height=height, heading=headings)
                drawn.append(_placed(svg, GAP + i * (width + GAP), y + 10, width, height))
            y += height + 10
    back = f'<rect width="{WIDTH}" height="{y + 14:g}" rx="6" style="fill: {PAPER.light}"/>'
    return (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {WIDTH} {y + 14:g}" width="{WIDTH}" role="img" aria-label="{html.escape(title)}">'
        f"<style>text{{font-family:system-ui,sans-serif}}{dark_style(looks)}</style>{back}{''.join(drawn)}</svg>\n"
    )


def _legend(y: float, keys: Keys) -> str:
    spans = [
        f'<tspan style="fill: {look.light}">{look.sign}</tspan> {html.escape(name)}' for name, look in keys.items()
    ]
    style = f"font-size:12px; white-space:pre; fill: {SOFT.light}"
    return f'<text x="{MARGIN}" y="{y:g}" style="{style}">{"    ".join(spans)}</text>'


def _placed(svg: str, x: float, y: float, width: float, height: float) -> str:
    return svg.replace("<svg ", f'<svg x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" ', 1)


def _text(y: float, value: str, look: Look, style: str) -> str:
    return f'<text x="{MARGIN}" y="{y:g}" style="{style}; fill: {look.light}">{html.escape(value)}</text>'
