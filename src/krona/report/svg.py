"""Write matplotlib figures as SVG elements with tooltips. CSS can change their colours on a dark page."""

import html
import io
import re
import warnings
from typing import Any

import matplotlib
from matplotlib.text import Text

from krona.messages import escape_control_characters
from krona.report.styles import GRID, INK, SOFT

RC: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "krona", "font.size": 12, "lines.solid_capstyle": "butt",
    "axes.labelcolor": INK, "xtick.color": SOFT, "ytick.color": SOFT, "text.parse_math": False,
    "axes.axisbelow": True, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.9, "legend.frameon": False,
    "legend.fontsize": 11, "text.color": INK, "xtick.major.size": 0, "ytick.major.size": 0,
}  # fmt: skip
TIP = "tip:"
NEEDLESS = (  # parts of matplotlib's SVG to remove: they would change the page's style, or differ between two runs
    r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<clipPath.*?</clipPath>", r"<defs>\s*</defs>",
    r' clip-path="[^"]*"', r' transform="rotate\(-0 [^"]*"', r" font-family: [^;\"]*;?",
    r' id="(?!m[0-9a-f]{10}")[^"]*"',
)  # fmt: skip


def tooltip(text: str) -> str:
    """Encode a tooltip as the ``gid`` of a matplotlib artist, which `to_svg` decodes."""
    return TIP + escape_control_characters(text).replace("\n", " ")


@matplotlib.rc_context(RC)
def to_svg(figure: Any, title: str) -> str:
    """Return a matplotlib figure as an SVG element. Equal figures give identical text.

    An artist gets the tooltip that its ``gid`` encodes (see `tooltip`). The element has no CSS of its own: the page's
    CSS sets its style. The ``title`` is for screen readers.
    """
    for text in figure.findobj(Text):
        text.set_text(escape_control_characters(text.get_text()).replace("\t", " "))
    out = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the SVG viewer chooses the font
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)  # labels are too long
        figure.savefig(out, format="svg", transparent=True)
    svg = out.getvalue()
    svg = re.sub(rf'<g id="{TIP}([^"]*)">', r"<g><title>\1</title>", svg)
    svg = re.sub(r'<g id="front">', r'<g class="front">', svg)
    for pattern in NEEDLESS:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", " ", svg[svg.index("<svg") :]).replace("> <", "><")
    width, height = figure.get_size_inches() * 72
    size = f'viewBox="0 0 {width:g} {height:g}"'
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    root = f'<svg class="chart" {names} {size} role="img" aria-label="{html.escape(escape_control_characters(title))}">'
    return re.sub("<svg [^>]*>", lambda _: root, svg, count=1)
