"""A matplotlib figure that becomes an SVG element with tooltips."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from krona.messages import visible
from krona.report.charts.looks import INK, SOFT, Look

STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "krona", "font.size": 12, "lines.solid_capstyle": "butt",
    "axes.labelcolor": INK.light, "xtick.color": SOFT.light, "ytick.color": SOFT.light,
    "text.parse_math": False,
}  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"
NEEDLESS = (f"{SVG}metadata", f"{SVG}style", f"{SVG}clipPath")

ElementTree.register_namespace("", SVG.strip("{}"))
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


@dataclass
class Canvas:
    """A figure while it is drawn; ``texts`` are the tooltips of each group of marks."""

    figure: Any
    axes: Any
    texts: list[Sequence[str]] = field(default_factory=list)

    def marks(self, places: Sequence[tuple[float, float]], texts: Sequence[str], look: Look, **style: Any) -> None:
        """Draw a mark at each place, with its tooltip."""
        options: dict[str, Any] = {"markersize": 7, "markeredgewidth": 1.4, "marker": look.mark, **style}
        self.axes.plot(
            *zip(*places, strict=True), linestyle="none", color=look.light, clip_on=False, zorder=3,
            gid=f"tips{len(self.texts)}", **options,
        )  # fmt: skip
        self.texts.append(texts)

    def line(self, xs: Sequence[float], ys: Sequence[float], text: str, look: Look) -> None:
        """Draw a line with its tooltip."""
        gid = f"tips{len(self.texts)}"
        self.axes.plot(xs, ys, color=look.light, linewidth=1.8, linestyle=look.dash, clip_on=False, gid=gid)
        self.texts.append([text])

    def arrow(self, place: tuple[float, float], mark: str, look: Look) -> None:
        """Show that an interval or a point lies beyond the end of the axis."""
        self.marks([place], ["beyond the axis"], look, marker=mark, markersize=5)


@contextmanager
def canvas(width: float, height: float, margins: tuple[float, float, float, float]) -> Iterator[Canvas]:
    """Yield an empty figure; margins: left, right, top and bottom of its axes."""
    import matplotlib
    from matplotlib.figure import Figure

    left, right, top, bottom = margins
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width / 72, height / 72))
        box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
        axes = figure.add_axes(box)
        axes.patch.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, pad=6)
        yield Canvas(figure, axes)


def to_svg(on: Canvas, title: str) -> str:
    """Return the figure as an SVG element with its tooltips, without what is not needed or changes between runs."""
    from matplotlib.text import Text

    for text in on.figure.findobj(Text):
        text.set_text(visible(text.get_text()).replace("\t", " "))
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the font is the reader's
        on.figure.savefig(out, format="svg", transparent=True)
    root = ElementTree.fromstring(out.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in NEEDLESS:
                parent.remove(child)
        _clean(parent)
        if (name := parent.get("id", "")).startswith("tips"):
            _add_tooltips(parent, on.texts[int(name.removeprefix("tips"))])
        if name in ("front", "interval"):
            parent.set("class", name)
        if parent.tag != f"{SVG}path":  # the path of a mark is referred to
            parent.attrib.pop("id", None)
    width, height = on.figure.get_size_inches() * 72
    root.attrib = {
        "class": "chart",
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": visible(title),
    }
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element) -> None:
    element.text, element.tail = (element.text or "").strip(), ""
    for name, value in list(element.attrib.items()):
        if name == "clip-path" or value.startswith("rotate(-0"):
            del element.attrib[name]
        elif name == "style":
            element.set(name, re.sub(r"font-family: [^;]+;? ?", "", value))
        elif name == "d":
            element.set(name, " ".join(value.split()))
    if element.tag == f"{SVG}path" and element.get("id"):
        element.attrib.pop("style", None)  # a mark has its colors where it is used


def _add_tooltips(group: ElementTree.Element, texts: Sequence[str]) -> None:
    """Give each mark its text; a line has one text."""
    marks = list(group.iter(f"{SVG}use")) or [group]
    for mark, text in zip(marks, texts, strict=True):
        title = ElementTree.Element(f"{SVG}title")
        title.text = visible(text)
        mark.insert(0, title)
