"""Draw what a branch computes: its weights with their shapes, and how it joins its layer or block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drawing.branch import Branch, Weight
from drawing.elements import Element, lane_elements, weight, word
from drawing.picture import LONGEST, Picture, side

PARTS = (("SelfAttention", "self-attention"), ("EncDecAttention", "cross-attention"), ("DenseReluDense", "FFN"))
TIGHT = 1.3  # a lane that exceeds its space by this factor is drawn as two


def lane_width(elements: Sequence[Element]) -> float:
    return sum(one.width for one in elements) + 6 * (len(elements) - 1)


def draw_lane(picture: Picture, elements: Sequence[Element], x: float, y: float, room: float) -> float:
    """Draw elements from left to right, scaled down to the space. Return the right end."""
    total = lane_width(elements)
    scale = min(1.0, room / total)
    picture.parts.append(f'<g transform="translate({x:g},{y:g}) scale({scale:.3f})">')
    at = 0.0
    for one in elements:
        one.draw(picture, at, 0)
        at += one.width + 6
    picture.parts.append("</g>")
    return x + total * scale


@dataclass
class Place:
    """A kind of place of a method: its branch, how the branch joins, and the modules."""

    branch: Branch
    placement: str
    inner_residual: bool
    copies: int
    magnitude: int  # its length; 0: none
    widths: tuple[int, int]  # of the base
    modules: list[str]

    @property
    def whole(self) -> bool:
        """Return whether the branch is at a whole block, not at a layer."""
        return any(module in dict(PARTS) for module in self.modules)


def draw_place(picture: Picture, method: dict[str, Any], place: Place, top: float, left: float, wide: float) -> float:
    """Draw one kind of place. Return its lower end."""
    names = [dict(PARTS).get(name, name) for name in place.modules]
    at = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    how = {"parallel": "beside", "sequential": "after", "before": "before"}[place.placement]
    many = f"{place.copies} branches" if place.copies > 1 else "A branch"
    picture.text(left, top + 14, f"{many} {how} {at}", "ink title", "start")
    start = f",  init: {method['init']}" if "init" in method else ""
    picture.text(left, top + 40, _equation(method, place, names) + start, "ink math", "start")
    if place.whole:
        label = " or ".join(names)
        base = Element("box", 30 + 7.2 * max(map(len, names)), label, fill="frozen")
    else:
        base = weight(Weight("W", *place.widths), "frozen")
    draw = _draw_parallel if place.placement == "parallel" else _draw_in_sequence
    return draw(picture, method, place, base, lane_elements(method, place.branch), top + 42, left, wide)


def _equation(method: dict[str, Any], place: Place, names: list[str]) -> str:
    block = names[0] if len(names) == 1 else "f"
    base, x = (f"{block}(x)", "x") if place.whole else ("x W", "x")
    if place.placement == "before":
        return f"y = ({place.branch.equation(method, 'x')}) W"
    if place.placement == "sequential":
        if not place.inner_residual:
            return f"y = {place.branch.equation(method, f'({base})')}"
        return f"h = {base},  y = h + {place.branch.equation(method, 'h')}"
    update = place.branch.equation(method, x)
    if place.copies > 1:
        update = f"Σ_{{{place.copies}}} [{update}]"
    if place.magnitude:
        return f"y = m ⊙ ({base} + {update}) / ‖W′‖,  W′ = {base.removeprefix('x ')} + {update.replace('x ', '')}"
    return f"y = {base} + {update}"


def _draw_parallel(
    picture: Picture, method: dict[str, Any], place: Place, base: Element, elements: list[Element],
    top: float, left: float, wide: float,
) -> float:  # fmt: skip
    """Draw the base, the parallel branch below it, and their sum."""
    gate = {"scale": "s", "sigmoid": "σ"}.get(str(method.get("residual")))
    over = 22 if place.whole else LONGEST / 2
    upper = top + 36 + over
    tall = max(half_height(one) for one in elements)
    lower = upper + over + (62 if place.copies > 1 else 56) + tall
    fork, start = left + 34, left + (96 if gate or place.copies > 1 else 70)
    room = wide - (168 if place.magnitude else 60) - (start - left) - (90 if gate else 40)
    total = min(room, lane_width(elements))
    span = max(total, base.width)
    begin = start + (span - total) / 2
    end = start + span + (96 if gate else 62)
    picture.text(left + 6, upper + 6, "x", "ink math")
    picture.flow((left + 16, upper), (fork, upper), arrow=False)
    middle = start + (span - base.width) / 2
    picture.flow((fork, upper), (middle - 3, upper))
    base.draw(picture, middle, upper)
    picture.flow((middle + base.width + 3, upper), (end - 12, upper))
    if place.branch.weights:  # a bias does not look at x
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
    if place.copies > 1:
        over_lane = lower - tall - 36
        for shift in range(min(3, place.copies)):
            gap = 5 * shift
            if shift:  # the frames of the others, behind the first
                x0, x1, y0, y1 = begin - 40 + gap, stop + 10 + gap, over_lane - gap, bottom - gap
                picture.parts.append(f'<path class="group" d="M{x0:g},{y0:g}H{x1:g}V{y1:g}" stroke-dasharray="5 4"/>')
            else:
                picture.group(begin - 40, over_lane, stop + 10 - begin + 40, bottom - over_lane)
        picture.text(begin - 38, bottom + 17, f"× {place.copies}, each with weights of its own", "soft small", "start")
        bottom += 24
    picture.node(end, upper, "+")
    if place.magnitude:
        _magnitude(picture, place, end, upper)
    else:
        picture.flow((end + 12, upper), (end + 42, upper))
        picture.text(end + 51, upper + 6, "y", "ink math")
    return bottom


def half_height(one: Element) -> float:
    """Return half the height of an element."""
    return side(one.weight.rows * (one.weight.copies if one.weight.diagonal else 1)) / 2 if one.weight else 13


def _magnitude(picture: Picture, place: Place, x: float, y: float) -> None:
    """Draw the division of the outputs by their norm and the multiplication by the learned magnitude."""
    picture.flow((x + 12, y), (x + 34, y))
    picture.box(x + 35, y, 58, 28, "plain", "÷ ‖W′‖", "on small")
    picture.flow((x + 94, y), (x + 112, y))
    picture.node(x + 124, y, "⊙")
    picture.flow((x + 136, y), (x + 156, y))
    picture.text(x + 165, y + 6, "y", "ink math")
    picture.box(x + 124 - side(place.magnitude) / 2, y - 46, side(place.magnitude), 11, "trains")
    picture.flow((x + 124, y - 40), (x + 124, y - 13))
    picture.text(x + 124, y - 58, "m", "ink math")
    picture.text(x + 134, y - 24, f"1 × {place.magnitude}", "soft small", "start")


def _draw_in_sequence(
    picture: Picture, method: dict[str, Any], place: Place, base: Element, elements: list[Element],
    top: float, left: float, wide: float,
) -> float:  # fmt: skip
    """Draw the base and the branch in sequence, with the inner residual around the branch."""
    tall = max(half_height(one) for one in elements)
    y = top + 40 + max(tall, 22 if place.whole else LONGEST / 2) + (16 if place.inner_residual else 0)
    gated = not place.branch.weights  # a vector: it multiplies
    inner = [word("⊙"), *elements] if gated else elements
    picture.text(left + 6, y + 6, "x", "ink math")
    at = left + 20
    if place.placement == "sequential":
        if lane_width(inner) + base.width > 0.8 * wide:  # the drawing begins at the output of the base
            picture.parts.pop()
            picture.text(left + 6, y + 6, "h", "ink math")
        else:
            picture.flow((left + 16, y), (at + 22, y))
            base.draw(picture, at + 25, y)
            at += 28 + base.width
    ending = 46 if place.placement == "sequential" else 74 + base.width
    fork, begin = at + 14, at + 34
    start = y
    picture.flow((at - 2, y), (begin - 3, y))
    room = left + wide - ending - begin - (36 if place.inner_residual else 4)
    stacked = any(one.weight and one.weight.copies > 1 and not one.weight.diagonal for one in inner)
    peak = y - tall - (42 if stacked else 34)
    bends = [i + 1 for i, one in enumerate(inner) if one.text == "σ"]
    if bends and lane_width(inner) > TIGHT * room:
        stop = draw_lane(picture, inner[: bends[0]], begin, y, room)
        turn, between, lower = stop + 18, y + tall + 30, y + 2 * tall + 70
        back = [(turn, between), (fork, between), (fork, lower), (begin - 3, lower)]
        picture.flow((stop + 4, y), (turn, y), *back)
        stop, y = draw_lane(picture, inner[bends[0] + 1 :], begin, lower, room), lower
        if stop < turn:  # the sum is to the right of both lanes
            picture.flow((stop + 3, y), (turn, y), arrow=False)
            stop = turn - 3
    else:
        stop = draw_lane(picture, inner, begin, y, room)
    if place.inner_residual:
        picture.flow((fork, start), (fork, peak), (stop + 34, peak), (stop + 34, y - 12))
        picture.flow((stop + 3, y), (stop + 22, y))
        picture.node(stop + 34, y, "+")
        stop += 46
    if place.placement == "before":
        picture.flow((stop + 4, y), (stop + 27, y))
        base.draw(picture, stop + 30, y)
        stop += 33 + base.width
    picture.flow((stop + 2, y), (stop + 28, y))
    picture.text(stop + 38, y + 6, "y", "ink math")
    return y + max(tall, 22 if place.whole else LONGEST / 2) + 26
