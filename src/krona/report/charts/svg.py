"""Write a matplotlib figure as an SVG element with tooltips. CSS can change its colors on a dark page."""

import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from krona.messages import visible
from krona.report.charts.looks import INK, SOFT

STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "krona", "font.size": 12, "lines.solid_capstyle": "butt",
    "axes.labelcolor": INK.light, "xtick.color": SOFT.light, "ytick.color": SOFT.light, "text.parse_math": False,
}  # fmt: skip
TIP = "tip:"
NEEDLESS = (  # parts of matplotlib's SVG to remove: they would change the page's style, or differ between two runs
    r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<clipPath.*?</clipPath>", r"<defs>\s*</defs>",
    r' clip-path="[^"]*"', r' transform="rotate\(-0 [^"]*"', r" font-family: [^;\"]*;?",
    r' id="(?!m[0-9a-f]{10}")[^"]*"',
)  # fmt: skip


def tooltip(text: str) -> str:
    """Return a value for the ``gid`` of a matplotlib artist. `to_svg` gives the artist a tooltip with the text."""
    return TIP + visible(text).replace("\n", " ")


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Any]:
    """Yield an empty figure of ``width`` by ``height`` points, in the style of the charts."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure: Any = Figure(figsize=(width / 72, height / 72))
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
        yield figure


def to_svg(figure: Any, title: str, *, style: str = "") -> str:
    """Return a matplotlib figure as an SVG element. Equal figures give the same text.

    An artist whose ``gid`` is a `tooltip` gets this tooltip. Without ``style`` (CSS), the element is part of an HTML
    page, which has its own CSS. The ``title`` is for screen readers.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text(visible(text.get_text()).replace("\t", " "))
    out = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the reader's program chooses the font
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)  # labels that leave no space
        figure.savefig(out, format="svg", transparent=not style)
    svg = out.getvalue()
    svg = re.sub(rf'<g id="{TIP}([^"]*)">', r"<g><title>\1</title>", svg)
    svg = re.sub(r'<g id="(front|interval)">', r'<g class="\1">', svg)
    for pattern in NEEDLESS:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", " ", svg[svg.index("<svg") :]).replace("> <", "><")
    width, height = figure.get_size_inches() * 72
    size = f'viewBox="0 0 {width:g} {height:g}"' + (f' width="{width:g}"' if style else "")
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    root = f'<svg class="chart" {names} {size} role="img" aria-label="{html.escape(visible(title))}">'
    return re.sub("<svg [^>]*>", lambda _: root + (f"<style>{style}</style>" if style else ""), svg, count=1)
