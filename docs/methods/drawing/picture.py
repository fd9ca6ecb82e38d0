"""Build an SVG of boxes, circles, lines and formulas."""

import re
from html import escape

WIDTH, LONGEST = 760, 92  # pixels: of the drawing, and of a side of 768
STYLE = """
.back{fill:#fff}.ink{fill:#1f2933}.soft{fill:#5c626d}.flow{stroke:#5b6672;fill:none}.head{fill:#5b6672}
.edge{stroke:#3b4754}.trains{fill:#f4a259}.frozen{fill:#e3e6ea}.plain{fill:#fff}.group{stroke:#8a94a0;fill:none}
text{font:13px system-ui,sans-serif}.math{font:italic 16px Georgia,'Times New Roman',serif}.small{font-size:11px}
.on{fill:#1f2933}.below{font-size:11px}.title{font-weight:600}
@media (prefers-color-scheme:dark){.back{fill:#15171b}.ink{fill:#e6e7ea}.soft{fill:#a2a8b4}.flow{stroke:#98a2ae}
.head{fill:#98a2ae}.edge{stroke:#0c0d0f}.trains{fill:#d9822f}.frozen{fill:#aab2bc}.plain{fill:#d5d9de}
.group{stroke:#69727d}}
"""


class Picture:
    """An SVG to which shapes are added."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def text(self, x: float, y: float, value: str, kind: str = "ink", anchor: str = "middle") -> None:
        """Add a text, in which ``_{…}`` is a subscript."""
        first, *others = value.split("_{")
        shown = escape(first)
        for below, _, after in (one.partition("}") for one in others):
            shown += f'<tspan dy="4" class="below">{escape(below)}</tspan>'
            shown += f'<tspan dy="-4">{escape(after)}</tspan>' if after else ""
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{shown}</text>')

    def box(self, x: float, y: float, w: float, h: float, kind: str, text: str = "", look: str = "on") -> None:
        """Add a box with its left end at ``x`` and its middle at ``y``."""
        self.parts.append(
            f'<rect class="edge {kind}" x="{x:g}" y="{y - h / 2:g}" width="{w:g}" height="{h:g}" rx="3"/>'
        )
        if text:
            self.text(x + w / 2, y + 4.5, text, look)

    def node(self, x: float, y: float, text: str, kind: str = "plain", r: float = 11) -> None:
        self.parts.append(f'<circle class="edge {kind}" cx="{x:g}" cy="{y:g}" r="{r:g}"/>')
        self.text(x, y + 5, text, "on math")

    def flow(self, *points: tuple[float, float], arrow: bool = True) -> None:
        path = "L".join(f"{x:g},{y:g}" for x, y in points)
        end = ' marker-end="url(#a)"' if arrow else ""
        self.parts.append(f'<path class="flow" d="M{path}" stroke-width="1.4"{end}/>')

    def group(self, x: float, y: float, w: float, h: float) -> None:
        self.parts.append(
            f'<rect class="group" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="8" stroke-dasharray="5 4"/>'
        )

    def svg(self, height: float, title: str) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img">'
            f"<title>{escape(title)}</title><style>{STYLE}</style>"
            '<defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
            '<path class="head" d="M0,0.5L8,4L0,7.5z"/></marker></defs>'
            f'<rect class="back" width="{WIDTH}" height="{height:g}" rx="6"/>'
        )
        return "\n".join([head, *self.parts, "</svg>\n"])


def symbol(name: str) -> str:
    """Return the symbol of a parameter: ``A``, ``W_{1}`` for ``w1``, ``W_{down}`` for ``down``."""
    if found := re.fullmatch(r"([A-Za-z])_?(\w*)", name):
        first, rest = found.groups()
        if not rest or rest.isdigit() or rest[0].isdigit():
            return (first.upper() if rest else first) + (f"_{{{rest.replace('_', '')}}}" if rest else "")
    return f"W_{{{name}}}" if name.isascii() else name


def text_width(text: str) -> float:
    """Return the width of a formula in pixels."""
    first, *others = text.split("_{")
    parts = [one.partition("}") for one in others]
    plain = first + "".join(after for _, _, after in parts)
    return sum({"W": 14, "⊗": 13}.get(letter, 8) for letter in plain) + 5.6 * sum(len(below) for below, _, _ in parts)


def side(length: int) -> float:
    """Return a side in pixels. It grows with the square root of the length, so that 1 is visible beside 768."""
    return round(8 + (LONGEST - 8) * min(1.2, (length / 768) ** 0.5), 1)
