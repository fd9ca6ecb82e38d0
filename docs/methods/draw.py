"""Draw each method: what its branch computes, and where it sits in T5-base: `python docs/methods/draw.py [FOLDER]`.

Nothing here knows a method. Each YAML of conf/method is inserted into a block of T5-base (without values: on torch's
meta device), and the drawing shows what is then there. How a branch's weights follow each other is read from their
shapes: a product, a Kronecker product, a block-diagonal matrix. A new method gets its drawing by being there.
"""

import copy
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from krona import surgery
from krona.backbones.with_method import insert_method
from krona.config import check

HERE = Path(__file__).resolve().parent
WIDTH, LONGEST = 760, 92  # pixels: of the drawing, and of a side of 768
SHORT = 7  # letters of a formula that fits a small box
FORK = 196  # pixels from the left: where a block's input goes to its layers
TIGHT = 1.3  # a lane that is so many times longer than its room is drawn as two
BLOCK = "decoder.block.0.layer"
PARTS = (("SelfAttention", "self-attention"), ("EncDecAttention", "cross-attention"), ("DenseReluDense", "FFN"))
STYLE = """
.back{fill:#fff}.ink{fill:#1f2933}.soft{fill:#5c626d}.flow{stroke:#5b6672;fill:none}.head{fill:#5b6672}
.edge{stroke:#3b4754}.trains{fill:#f4a259}.frozen{fill:#e3e6ea}.plain{fill:#fff}.group{stroke:#8a94a0;fill:none}
text{font:13px system-ui,sans-serif}.math{font:italic 16px Georgia,'Times New Roman',serif}.small{font-size:11px}
.on{fill:#1f2933}.below{font-size:11px}.title{font-weight:600}
@media (prefers-color-scheme:dark){.back{fill:#15171b}.ink{fill:#e6e7ea}.soft{fill:#a2a8b4}.flow{stroke:#98a2ae}
.head{fill:#98a2ae}.edge{stroke:#0c0d0f}.trains{fill:#d9822f}.frozen{fill:#aab2bc}.plain{fill:#d5d9de}
.group{stroke:#69727d}}
"""


# ---- what a branch computes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weight:
    """A weight, or a stack of them: ``copies`` of (rows, columns)."""

    name: str
    rows: int
    columns: int
    copies: int = 1
    diagonal: bool = False  # the copies are the blocks of one matrix, else they are summed over


Step = list[Weight | str]  # a map from one width to another: weights, with ⊗ and brackets between them


def steps_of(weights: Sequence[Weight], shared: Sequence[Weight], start: int, end: int) -> list[Step] | None:
    """The maps that lead from width ``start`` to ``end`` and use all ``weights`` in order; None where none do.

    A step is a matrix, a block-diagonal matrix, or a Kronecker product whose second (or first) factor may be a product
    of two. ``shared`` weights may stand as the first factor of any step.
    """
    if not weights:
        return [] if start == end else None
    counts = range(1, min(3, len(weights)) + 1)
    for count in reversed(counts) if shared else counts:
        for step, columns in _readings(weights[:count], shared, start):
            if (others := steps_of(weights[count:], shared, columns, end)) is not None:
                return [step, *others]
    return None


def _readings(weights: Sequence[Weight], shared: Sequence[Weight], start: int) -> Iterator[tuple[Step, int]]:
    """Each step that these weights may be, with the width that it leads to."""
    for all_of_them in (*([one, *weights] for one in shared), weights):
        for cut in range(1, len(all_of_them)):
            if max(cut, len(all_of_them) - cut) > 2:
                continue
            left, right = _product(all_of_them[:cut]), _product(all_of_them[cut:])
            if left and right and left[0] * right[0] == start:
                yield [*_bracketed(all_of_them[:cut]), "⊗", *_bracketed(all_of_them[cut:])], left[1] * right[1]
    if len(weights) == 1:
        (one,) = weights
        if one.rows == start:
            yield [one], one.columns
        if one.copies > 1 and one.rows * one.copies == start:
            block = Weight(one.name, one.rows, one.columns, one.copies, diagonal=True)
            yield [block], one.columns * one.copies


def _product(weights: Sequence[Weight]) -> tuple[int, int] | None:
    """Rows and columns of the product; None where the inner sides differ."""
    fits = all(a.columns == b.rows for a, b in itertools.pairwise(weights))
    return (weights[0].rows, weights[-1].columns) if fits else None


def _bracketed(weights: Sequence[Weight]) -> Step:
    return ["(", *weights, ")"] if len(weights) > 1 else [*weights]


def weight_of(name: str, value: Tensor, *, turned: bool = False) -> Weight:
    """``turned``: stored as (columns, rows)."""
    rows, columns = value.shape[-2:][::-1] if turned else value.shape[-2:]
    return Weight(name, rows, columns, value.shape[0] if value.dim() == 3 else 1)


@dataclass
class Branch:
    """A branch as it is drawn. ``steps`` is None where the shapes do not say how the weights follow each other."""

    steps: list[Step] | None
    weights: list[Weight]
    vectors: list[tuple[str, int]]
    formula: str  # of the class's docstring
    start: int  # the width of its input

    @classmethod
    def of(cls, module: nn.Module, d_in: int, d_out: int) -> "Branch":
        named = {name.replace("_", " "): value for name, value in module.named_parameters()}
        vectors = [(name, len(value)) for name, value in named.items() if value.dim() == 1]
        steps, weights = None, []
        for turned, (start, end) in ((False, (d_in, d_out)), (True, (d_in, d_out))):
            found = {n: weight_of(n, value, turned=turned) for n, value in named.items() if value.dim() > 1}
            shared = [found.pop(name) for name in getattr(module, "shared", ()) if name in found]
            weights = weights or [*shared, *found.values()]
            steps = steps or steps_of(list(found.values()), shared, start, end) or None
        found_formula = re.search(r"``(.+?)``", type(module).__doc__ or "")
        formula = re.sub(r"_(\w+)", r"_{\1}", found_formula[1]) if found_formula else type(module).__name__
        if not weights and len(formula) < SHORT:
            vectors = [(formula.split()[0], length) for _, length in vectors]
        if steps is None and len(weights) == 1 and (letter := re.search(r"\((\w)\)", formula)):
            weights = [replace(weights[0], name=letter[1])]  # as the formula has it
        return cls(steps, weights, vectors, formula, d_in)

    def mixing(self, number: int) -> str:
        """The fixed permutation after this step, if it is block-diagonal and the docstring's formula names one."""
        diagonal = any(isinstance(one, Weight) and one.diagonal for one in (self.steps or [])[number])
        name = "P′" if number == len(self.steps or []) - 1 else "P"
        return name if diagonal and re.search(rf" {name.replace('′', chr(39))}(?= |$)", self.formula) else ""

    def short(self, *, bent: bool) -> str:
        """What stands in a small box. ``bent``: with a non-linearity between its steps."""
        if bent and self.steps and len(self.steps) > 1:
            return "↓ σ ↑"
        if not self.weights:
            return self.formula if len(self.formula) < SHORT else ", ".join(name for name, _ in self.vectors)
        words = " ".join(one if isinstance(one, str) else symbol(one.name) for step in self.steps or () for one in step)
        return words if 0 < length_of(words) < 76 else "ΔW"

    def equation(self, method: dict[str, Any], x: str) -> str:
        """What the branch makes of ``x``; of weights whose order is not known, the formula of its docstring."""
        if not self.weights:
            return f"{self.vectors[0][0]} ⊙ {x}" if "⊙" in self.formula else self.formula
        if not self.steps:
            update = self.formula.startswith("ΔW = ")
            return f"{x} ΔWᵀ,  {self.formula}" if update else self.formula
        lengths, biases = [length for _, length in self.vectors], []
        for step in self.steps:
            biases.append(_width_after(step) in lengths)
            if biases[-1]:
                lengths.remove(_width_after(step))
        made, bent = x, method.get("non_linearity")
        for number, step in enumerate(self.steps):
            words = " ".join(one if isinstance(one, str) else symbol(one.name) for one in step)
            words = words.replace("( ", "(").replace(" )", ")")
            words += f" {mixing}" if (mixing := self.mixing(number)) else ""
            summed = any(isinstance(one, Weight) and one.copies > 1 and not one.diagonal for one in step)
            words = f"(Σ_{{i}} {words})" if summed else f"({words})" if "⊗" in words else words
            made = f"{f'σ({made})' if number and bent else made} {words}" + (" + b" if biases[number] else "")
        scaled = float(method.get("scaling", 1)) != 1
        made = (f"s ({made})" if " + " in made else f"s {made}") if scaled else made
        return made + {"scale": f" + s_{{res}} {x}", "sigmoid": f" + σ(s_{{res}}) {x}"}.get(
            str(method.get("residual")), ""
        )


# ---- the elements of a drawing --------------------------------------------------------------------------------


class Picture:
    """An SVG in the making."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def text(self, x: float, y: float, value: str, kind: str = "ink", anchor: str = "middle") -> None:
        """``value``: in it, ``_{…}`` is a subscript."""
        first, *others = value.split("_{")
        shown = escape(first)
        for below, _, after in (one.partition("}") for one in others):
            shown += f'<tspan dy="4" class="below">{escape(below)}</tspan>'
            shown += f'<tspan dy="-4">{escape(after)}</tspan>' if after else ""
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{shown}</text>')

    def box(self, x: float, y: float, w: float, h: float, kind: str, text: str = "", look: str = "on") -> None:
        """``x``: the left end; ``y``: the middle."""
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
    """``A``, ``W_{1}`` of ``w1``, ``W_{down}`` of ``down``."""
    if found := re.fullmatch(r"([A-Za-z])_?(\w*)", name):
        first, rest = found.groups()
        if not rest or rest.isdigit() or rest[0].isdigit():
            return (first.upper() if rest else first) + (f"_{{{rest.replace('_', '')}}}" if rest else "")
    return f"W_{{{name}}}" if name.isascii() else name


def length_of(text: str) -> float:
    """Pixels of a formula."""
    first, *others = text.split("_{")
    parts = [one.partition("}") for one in others]
    plain = first + "".join(after for _, _, after in parts)
    return sum({"W": 14, "⊗": 13}.get(letter, 8) for letter in plain) + 5.6 * sum(len(below) for below, _, _ in parts)


def side(length: int) -> float:
    """Pixels of a side: its square root, so that 1 is seen beside 768."""
    return round(8 + (LONGEST - 8) * min(1.2, (length / 768) ** 0.5), 1)


@dataclass
class Element:
    """Something in a lane, ``width`` wide; ``kind``: weight, word, arrow, node."""

    kind: str
    width: float
    text: str = ""
    below: str = ""
    weight: Weight | None = None
    fill: str = "trains"

    def draw(self, picture: Picture, x: float, y: float) -> None:
        middle = x + self.width / 2
        if self.kind == "arrow":
            picture.flow((x + 2, y), (x + self.width - 2, y))
        elif self.kind == "word":
            if self.text:  # else a gap
                picture.text(middle, y + 6, self.text, "ink math")
        elif self.kind == "node":
            picture.node(middle, y, self.text, self.fill, 9.5 + 1.5 * len(self.text))
            if self.below:
                picture.text(middle, y + 27, self.below, "soft small")
        elif self.kind == "box":
            lines = self.text.split(" or ")
            picture.box(x, y, self.width, 44, self.fill)
            for number, line in enumerate(lines):
                last = " or" if number < len(lines) - 1 else ""
                picture.text(middle, y + 4.5 + 16 * (number - (len(lines) - 1) / 2), line + last, "on")
        elif self.weight is not None:
            _draw_weight(picture, self.weight, middle, y, self.fill)


def _draw_weight(picture: Picture, one: Weight, middle: float, y: float, fill: str) -> None:
    rows, columns = (one.rows * one.copies, one.columns * one.copies) if one.diagonal else (one.rows, one.columns)
    w, h = side(columns), side(rows)
    if one.diagonal:
        picture.box(middle - w / 2, y, w, h, "plain")
        shown = min(4, one.copies)
        for i in range(shown):
            left, top = middle - w / 2 + i * w / shown, y - h / 2 + i * h / shown
            picture.box(left, top + h / shown / 2, w / shown, h / shown, fill)
    else:
        for behind in reversed(range(min(3, one.copies))):
            picture.box(middle - w / 2 + 4 * behind, y - 4 * behind, w, h, fill)
    lift = 0 if one.diagonal else 4 * (min(3, one.copies) - 1)
    picture.text(middle, y - h / 2 - 9 - lift, symbol(one.name), "ink math")
    blocks = f"{one.copies} of " if one.copies > 1 else ""
    picture.text(middle, y + h / 2 + 15, f"{blocks}{one.rows} × {one.columns}", "soft small")


def weight(one: Weight, fill: str = "trains") -> Element:
    shape = len(f"{one.rows} × {one.columns}") + (5 if one.copies > 1 else 0)
    wide = side(one.columns * (one.copies if one.diagonal else 1)) + (8 if one.copies > 1 else 0)
    return Element("weight", max(wide, 6.2 * shape, length_of(symbol(one.name))), weight=one, fill=fill)


def word(text: str) -> Element:
    return Element("word", 12 if text in "()" else 22, text)


def arrow(width: float = 24) -> Element:
    return Element("arrow", width)


def node(text: str, below: str = "", fill: str = "plain") -> Element:
    return Element("node", max(26, 6 * len(below)), text, below, fill=fill)


def lane(method: dict[str, Any], branch: Branch) -> list[Element]:
    """A branch from its input to its output."""
    vectors, bent = list(branch.vectors), method.get("non_linearity")
    found: list[Element] = []
    if branch.steps is None and len(branch.weights) == 1 and "(Σ" in branch.formula:
        (one,) = branch.weights  # the input is cut into parts as long as the weight has rows
        return [node("Σ", f"{branch.start // one.rows} parts"), arrow(20), weight(one)]
    if branch.steps is None and branch.weights:
        return [part for one in branch.weights for part in (word(","), weight(one))][1:]
    if not branch.weights:
        ((name, length),) = vectors[:1] or [("", 1)]
        return [weight(Weight(name, 1, length))]
    steps = branch.steps or []
    for number, step in enumerate(steps):
        if number:
            found += [arrow(20)] + ([node("σ", str(bent)), arrow(20)] if bent else [])
        summed = any(isinstance(one, Weight) and one.copies > 1 and not one.diagonal for one in step)
        found += [word("Σ_{i}")] if summed else []
        found += [word(one) if isinstance(one, str) else weight(one) for one in step]
        found += [arrow(20), node(mixing, "permutes")] if (mixing := branch.mixing(number)) else []
        out = _width_after(step)
        if bias := next((one for one in vectors if one[1] == out), None):
            vectors.remove(bias)
            found += [Element("word", 2), node("+b", str(out), "trains")]
    if (scale := float(method.get("scaling", 1))) != 1:
        found += [arrow(18), node("s", f"s = {scale:g}")]
    return found


def _width_after(step: Step) -> int:
    """Columns of the whole step."""
    columns, last = 1, None
    for one in step:
        if isinstance(one, Weight):
            last = one.columns * (one.copies if one.diagonal else 1)
        elif one == "⊗" and last:
            columns, last = columns * last, None
    return columns * (last or 1)


# ---- (a) what a branch computes, as a picture -----------------------------------------------------------------


def _length(elements: Sequence[Element]) -> float:
    return sum(one.width for one in elements) + 6 * (len(elements) - 1)


def draw_lane(picture: Picture, elements: Sequence[Element], x: float, y: float, room: float) -> float:
    """The elements from left to right, smaller where they would not fit; gives back where they end."""
    total = _length(elements)
    scale = min(1.0, room / total)
    picture.parts.append(f'<g transform="translate({x:g},{y:g}) scale({scale:.3f})">')
    at = 0.0
    for one in elements:
        one.draw(picture, at, 0)
        at += one.width + 6
    picture.parts.append("</g>")
    return x + total * scale


@dataclass
class Site:
    """What stands at one kind of place: the branch's drawing, how it joins, and at which modules."""

    branch: Branch
    placement: str
    inner_residual: bool
    copies: int
    magnitude: int  # its length, 0 where there is none
    widths: tuple[int, int]  # of the base
    modules: list[str]

    @property
    def whole(self) -> bool:
        """Whether it stands at a whole block, not at a layer."""
        return any(module in dict(PARTS) for module in self.modules)


def draw_site(picture: Picture, method: dict[str, Any], site: Site, top: float, left: float, wide: float) -> float:
    """One kind of place; gives back where it ends below."""
    names = [dict(PARTS).get(name, name) for name in site.modules]
    at = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    how = {"parallel": "beside", "sequential": "after", "before": "before"}[site.placement]
    many = f"{site.copies} branches" if site.copies > 1 else "A branch"
    picture.text(left, top + 14, f"{many} {how} {at}", "ink title", "start")
    picture.text(left, top + 40, _equation(method, site, names), "ink math", "start")
    if site.whole:
        label = " or ".join(names)
        base = Element("box", 30 + 7.2 * max(map(len, names)), label, fill="frozen")
    else:
        base = weight(Weight("W", *site.widths), "frozen")
    draw = _beside if site.placement == "parallel" else _in_line
    return draw(picture, method, site, base, lane(method, site.branch), top + 42, left, wide)


def _equation(method: dict[str, Any], site: Site, names: list[str]) -> str:
    block = names[0] if len(names) == 1 else "f"
    base, x = (f"{block}(x)", "x") if site.whole else ("x W", "x")
    if site.placement == "before":
        return f"y = ({site.branch.equation(method, 'x')}) W"
    if site.placement == "sequential":
        if not site.inner_residual:
            return f"y = {site.branch.equation(method, f'({base})')}"
        return f"h = {base},  y = h + {site.branch.equation(method, 'h')}"
    update = site.branch.equation(method, x)
    if site.copies > 1:
        update = f"Σ_{{{site.copies}}} [{update}]"
    if site.magnitude:
        return f"y = m ⊙ ({base} + {update}) / ‖W′‖,  W′ = {base.removeprefix('x ')} + {update.replace('x ', '')}"
    return f"y = {base} + {update}"


def _beside(
    picture: Picture, method: dict[str, Any], site: Site, base: Element, elements: list[Element],
    top: float, left: float, wide: float,
) -> float:  # fmt: skip
    """The base above, the branch below it, and their sum."""
    gate = {"scale": "s", "sigmoid": "σ"}.get(str(method.get("residual")))
    over = 22 if site.whole else LONGEST / 2
    upper = top + 36 + over
    tall = max(_tall(one) for one in elements)
    lower = upper + over + (62 if site.copies > 1 else 56) + tall
    fork, start = left + 34, left + (96 if gate or site.copies > 1 else 70)
    room = wide - (168 if site.magnitude else 60) - (start - left) - (90 if gate else 40)
    total = min(room, _length(elements))
    span = max(total, base.width)
    begin = start + (span - total) / 2
    end = start + span + (96 if gate else 62)
    picture.text(left + 6, upper + 6, "x", "ink math")
    picture.flow((left + 16, upper), (fork, upper), arrow=False)
    middle = start + (span - base.width) / 2
    picture.flow((fork, upper), (middle - 3, upper))
    base.draw(picture, middle, upper)
    picture.flow((middle + base.width + 3, upper), (end - 12, upper))
    if site.branch.weights:  # a bias does not look at x
        picture.flow((fork, upper), (fork, lower), (begin - 4, lower))
    stop = draw_lane(picture, elements, begin, lower, room)
    bottom = lower + tall + 26
    if gate:
        inner, lane_at = begin - 24, lower + tall + 42
        picture.flow((inner, lower), (inner, lane_at), (begin + total / 2 - 15, lane_at))
        picture.node(begin + total / 2, lane_at, f"{gate}_{{res}}" if gate == "s" else "σ(s)", "trains", 15)
        picture.flow((begin + total / 2 + 15, lane_at), (stop + 34, lane_at), (stop + 34, lower + 12))
        picture.text(begin + total / 2 + 22, lane_at - 5, "learned, × x", "soft small", "start")
        picture.flow((stop + 4, lower), (stop + 22, lower))
        picture.node(stop + 34, lower, "+")
        stop, bottom = stop + 42, lane_at + 24
    picture.flow((stop + 4, lower), (end, lower), (end, upper + 12))
    if site.copies > 1:
        over_lane = lower - tall - 36
        for shift in range(min(3, site.copies)):
            gap = 5 * shift
            if shift:  # the frames of the others, behind the first
                x0, x1, y0, y1 = begin - 40 + gap, stop + 10 + gap, over_lane - gap, bottom - gap
                picture.parts.append(f'<path class="group" d="M{x0:g},{y0:g}H{x1:g}V{y1:g}" stroke-dasharray="5 4"/>')
            else:
                picture.group(begin - 40, over_lane, stop + 10 - begin + 40, bottom - over_lane)
        picture.text(begin - 38, bottom + 17, f"× {site.copies}, each with weights of its own", "soft small", "start")
        bottom += 24
    picture.node(end, upper, "+")
    if site.magnitude:
        _magnitude(picture, site, end, upper)
    else:
        picture.flow((end + 12, upper), (end + 42, upper))
        picture.text(end + 51, upper + 6, "y", "ink math")
    return bottom


def _tall(one: Element) -> float:
    """Half the height of an element."""
    return side(one.weight.rows * (one.weight.copies if one.weight.diagonal else 1)) / 2 if one.weight else 13


def _magnitude(picture: Picture, site: Site, x: float, y: float) -> None:
    """The outputs over their length, times what is learned in its place."""
    picture.flow((x + 12, y), (x + 34, y))
    picture.box(x + 35, y, 58, 28, "plain", "÷ ‖W′‖", "on small")
    picture.flow((x + 94, y), (x + 112, y))
    picture.node(x + 124, y, "⊙")
    picture.flow((x + 136, y), (x + 156, y))
    picture.text(x + 165, y + 6, "y", "ink math")
    picture.box(x + 124 - side(site.magnitude) / 2, y - 46, side(site.magnitude), 11, "trains")
    picture.flow((x + 124, y - 40), (x + 124, y - 13))
    picture.text(x + 124, y - 58, "m", "ink math")
    picture.text(x + 134, y - 24, f"1 × {site.magnitude}", "soft small", "start")


def _in_line(
    picture: Picture, method: dict[str, Any], site: Site, base: Element, elements: list[Element],
    top: float, left: float, wide: float,
) -> float:  # fmt: skip
    """The base and the branch one after the other; round the branch, its inner residual."""
    tall = max(_tall(one) for one in elements)
    y = top + 40 + max(tall, 22 if site.whole else LONGEST / 2) + (16 if site.inner_residual else 0)
    gated = not site.branch.weights  # a vector: it multiplies
    inner = [word("⊙"), *elements] if gated else elements
    picture.text(left + 6, y + 6, "x", "ink math")
    at = left + 20
    if site.placement == "sequential":
        if _length(inner) + base.width > 0.8 * wide:  # the base's own output is where the drawing begins
            picture.parts.pop()
            picture.text(left + 6, y + 6, "h", "ink math")
        else:
            picture.flow((left + 16, y), (at + 22, y))
            base.draw(picture, at + 25, y)
            at += 28 + base.width
    ending = 46 if site.placement == "sequential" else 74 + base.width
    fork, begin = at + 14, at + 34
    start = y
    picture.flow((at - 2, y), (begin - 3, y))
    room = left + wide - ending - begin - (36 if site.inner_residual else 4)
    stacked = any(one.weight and one.weight.copies > 1 and not one.weight.diagonal for one in inner)
    peak = y - tall - (42 if stacked else 34)
    bends = [i + 1 for i, one in enumerate(inner) if one.text == "σ"]
    if bends and _length(inner) > TIGHT * room:
        stop = draw_lane(picture, inner[: bends[0]], begin, y, room)
        turn, between, lower = stop + 18, y + tall + 30, y + 2 * tall + 70
        back = [(turn, between), (fork, between), (fork, lower), (begin - 3, lower)]
        picture.flow((stop + 4, y), (turn, y), *back)
        stop, y = draw_lane(picture, inner[bends[0] + 1 :], begin, lower, room), lower
        if stop < turn:  # the sum stands beside both lanes
            picture.flow((stop + 3, y), (turn, y), arrow=False)
            stop = turn - 3
    else:
        stop = draw_lane(picture, inner, begin, y, room)
    if site.inner_residual:
        picture.flow((fork, start), (fork, peak), (stop + 34, peak), (stop + 34, y - 12))
        picture.flow((stop + 3, y), (stop + 22, y))
        picture.node(stop + 34, y, "+")
        stop += 46
    if site.placement == "before":
        picture.flow((stop + 4, y), (stop + 27, y))
        base.draw(picture, stop + 30, y)
        stop += 33 + base.width
    picture.flow((stop + 2, y), (stop + 28, y))
    picture.text(stop + 38, y + 6, "y", "ink math")
    return y + max(tall, 22 if site.whole else LONGEST / 2) + 26


# ---- (b) where it stands in a block ---------------------------------------------------------------------------


@dataclass
class Found:
    """What a method puts into the first decoder block and what trains there."""

    method: dict[str, Any]
    sites: list[Site]
    at: dict[str, Site]  # by the module's name
    trained: set[str]

    def fill(self, name: str) -> str:
        return "trains" if f"{name}.weight" in self.trained else "frozen"

    def chip(self, name: str) -> tuple[str, str] | None:
        """A place's short text and its placement."""
        if (site := self.at.get(name)) is None:
            return None
        text = site.branch.short(bent=bool(self.method.get("non_linearity")))
        return text + ("; m" if site.magnitude else ""), site.placement


def found(method: dict[str, Any], base: T5ForConditionalGeneration) -> Found:
    with torch.device("meta"):
        model = copy.deepcopy(base)
        insert_method(model, check.method(method), counterparts={})
    sites: list[Site] = []
    at: dict[str, Site] = {}
    for name, adapted in surgery.adapted_modules(model):
        branches: Any = adapted.branches["default"]
        place, public = adapted.places["default"], surgery.public_name(name)
        if not public.startswith((BLOCK, "lm_head")):
            continue
        widths = _widths(adapted.base)
        d_in, d_out = widths if place.placement == "parallel" else (widths[place.placement == "sequential"],) * 2
        magnitude = adapted.magnitudes["default"].magnitude if "default" in adapted.magnitudes else ()  # type: ignore[union-attr]
        branch, last = Branch.of(branches[0], d_in, d_out), public.rsplit(".", 1)[-1]
        site = Site(branch, place.placement, place.inner_residual, len(branches), len(magnitude), widths, [last])  # type: ignore[arg-type]
        for known in sites:
            same_widths = not branch.weights or known.widths == site.widths
            if (known.placement, known.whole) == (site.placement, site.whole) and same_widths:
                known.modules += [last] if last not in known.modules else []
                site = known
                break
        else:
            sites.append(site)
        at[public] = site
    tied = {"lm_head.weight"} if model.lm_head.weight.requires_grad else set()
    return Found(method, sites, at, set(surgery.trainable_state(model)) | tied)


def _widths(base: nn.Module) -> tuple[int, int]:
    return (base.in_features, base.out_features) if isinstance(base, nn.Linear) else (768, 768)


def cell(picture: Picture, at: Found, name: str, x: float, y: float, label: str, wide: float) -> tuple[float, float]:
    """A layer with what stands at it, ``x`` its middle; gives back its ends."""
    chip = at.chip(name)
    if chip is None:
        picture.box(x - wide / 2, y, wide, 22, at.fill(name), label)
        return x - wide / 2, x + wide / 2
    text, placement = chip
    width = max(26.0, length_of(text) + 12)
    left = x - (wide + 18 + width) / 2
    pair = [(label, at.fill(name), wide, "on"), (text, "trains", width, "on math")]
    start = left
    for words, fill, across, look in pair[::-1] if placement == "before" else pair:
        picture.box(start, y, across, 22, fill, words, look)
        start += across + 18
    joint = left + (width if placement == "before" else wide) + 9
    if placement == "parallel":
        picture.text(joint, y + 5, "+", "ink")
    else:
        picture.flow((joint - 8, y), (joint + 8, y))
    return left, left + wide + 18 + width


def row(picture: Picture, at: Found, number: int, title: str, top: float) -> float:
    """A sub-layer from left to right: LayerNorm, the block, the sum with the residual; gives back its end."""
    name, _ = PARTS[number]
    prefix, inside = f"{BLOCK}.{number}", f"{BLOCK}.{number}.{name}"
    around = at.at.get(inside)
    attention = name != "DenseReluDense"
    half, over = (45 if attention else 23), (40 if around and around.placement == "parallel" else 0)
    y = top + 26 + over + half
    picture.text(20, top + 12, title, "ink title", "start")
    picture.flow((20, y), (50, y), arrow=False)
    left, right = cell(picture, at, f"{prefix}.layer_norm", 112, y, "LayerNorm", 78)
    picture.flow((50, y), (left - 1, y))
    picture.group(FORK - 6, y - half, 588 - FORK, 2 * half)
    picture.flow((right + 1, y), (FORK, y), arrow=False)
    if attention:
        ends = [
            cell(picture, at, f"{inside}.{one}", 282, y + shift, one, 30)
            for one, shift in zip("qkv", (-28, 0, 28), strict=True)
        ]
        for (start, end), shift in zip(ends, (-28, 0, 28), strict=True):
            picture.flow((FORK, y), (FORK, y + shift), (start - 1, y + shift))
            picture.flow((end + 1, y + shift), (350, y + shift), (366, y), arrow=False)
        middle, last, wide = "attention", "o", 30
    else:
        start, end = cell(picture, at, f"{inside}.wi", 282, y, "wi", 34)
        picture.flow((FORK, y), (start - 1, y))
        picture.flow((end + 1, y), (366, y))
        middle, last, wide = "ReLU", "wo", 34
    picture.box(367, y, 84, 26, "plain", middle)
    start, end = cell(picture, at, f"{inside}.{last}", 520, y, last, wide)
    picture.flow((452, y), (start - 1, y))
    picture.flow((end + 1, y), (690, y))
    if around is not None:
        _around(picture, at, around, inside, y, half)
    picture.flow((36, y), (36, y + half + 12), (702, y + half + 12), (702, y + 12))
    picture.node(702, y, "+")
    picture.flow((714, y), (742, y))
    return y + half + 22


def _around(picture: Picture, at: Found, site: Site, name: str, y: float, half: float) -> None:
    """A branch at a whole block: beside it, or after it."""
    text, _ = at.chip(name) or ("", "")
    if site.placement == "sequential":
        picture.box(598, y, 52, 26, "trains", text)
        if site.inner_residual:
            picture.flow((588, y), (588, y - 26), (668, y - 26), (668, y - 11))
            picture.node(668, y, "+", r=9)
        return
    copies = f"{site.copies} × ({text})" if site.copies > 1 else text
    wide = length_of(copies) + 14
    lane_at = y - half - 22
    picture.flow((FORK - 14, y), (FORK - 14, lane_at), (391 - wide / 2 - 1, lane_at))
    picture.box(391 - wide / 2, lane_at, wide, 26, "trains", copies, "on math")
    picture.flow((391 + wide / 2 + 1, lane_at), (650, lane_at), (650, y - 12))
    picture.node(650, y, "+")


def same(at: Found) -> bool:
    """Whether the two attentions hold the same."""
    held = []
    for number, name in ((0, "SelfAttention"), (1, "EncDecAttention")):
        prefix = f"{BLOCK}.{number}."
        names = [
            p.removeprefix(prefix).replace(name, "attention") for p in {*at.at, *at.trained} if p.startswith(prefix)
        ]
        held.append({one for one in names if "relative" not in one})
    return held[0] == held[1]


def draw_block(picture: Picture, at: Found, top: float) -> float:
    picture.text(20, top, "Where it sits: a decoder block of T5", "ink title", "start")
    top += 18
    rows = [(0, "self-attention and cross-attention")] if same(at) else [(0, "self-attention"), (1, "cross-attention")]
    for number, title in [*rows, (2, "FFN")]:
        top = row(picture, at, number, title, top) + 10
    y = top + 14
    picture.box(20, y, 16, 14, "trains")
    picture.text(42, y + 4, "trains", "soft", "start")
    picture.box(100, y, 16, 14, "frozen")
    picture.text(122, y + 4, "frozen", "soft", "start")
    final = "decoder.final_layer_norm.weight" in at.trained
    head = "lm_head: + b" if at.chip("lm_head") else ("lm_head" if "lm_head.weight" in at.trained else "")
    others = [*(["the final LayerNorms"] if final else []), *([head] if head else [])]
    note = "Encoder blocks: the same, without cross-attention."
    note += f" Also trained: {' and '.join(others)}." if others else ""
    for number, line in enumerate(textwrap.wrap(note, 92)):
        picture.text(180, y + 4 + 15 * number, line, "soft small", "start")
    return y + 15 * number + 22


def draw_unbranched(picture: Picture, at: Found, top: float) -> float:
    """A method without branches: the backbone's own weights, filled by whether they train."""
    picture.text(20, top + 14, "No branch: the backbone's own weights", "ink title", "start")
    y = top + 44 + LONGEST / 2
    norm, layer = at.fill(f"{BLOCK}.0.layer_norm"), at.fill(f"{BLOCK}.0.SelfAttention.q")
    elements = [
        *(word("x"), arrow(40), Element("box", 52, "÷ rms", fill="plain"), arrow(30), word("⊙")),
        *(weight(Weight("γ", 1, 768), norm), arrow(40), weight(Weight("W", 768, 768), layer), arrow(40), word("y")),
    ]
    draw_lane(picture, elements, 20, y, WIDTH - 40)
    return y + LONGEST / 2 + 30


def draw(name: str, method: dict[str, Any], base: T5ForConditionalGeneration) -> str:
    """The SVG of one method."""
    picture, at = Picture(), found(method, base)
    sites = at.sites[:2]
    if not sites:
        bottom = draw_unbranched(picture, at, 14)
    elif len(sites) == 2 and not any(site.branch.weights for site in sites):
        bottom = max(draw_site(picture, method, site, 14, 20 + 370 * i, 350) for i, site in enumerate(sites))
    else:
        bottom = draw_site(picture, method, sites[0], 14, 20, WIDTH - 40)
    return picture.svg(draw_block(picture, at, bottom + 26), name)


def main(folder: Path = HERE) -> None:
    sizes = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 1, "num_heads": 12}
    with torch.device("meta"):
        base = T5ForConditionalGeneration(T5Config(**sizes, vocab_size=32128, decoder_start_token_id=0))
    for path in sorted((HERE.parents[1] / "conf" / "method").glob("*.yaml")):
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        (folder / f"{path.stem}.svg").write_text(draw(path.stem, config["method"], base), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
