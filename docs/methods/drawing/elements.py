"""Make the elements of a branch's drawing, from its input to its output."""

from dataclasses import dataclass
from typing import Any

from drawing.branch import Branch, Weight, width_after
from drawing.picture import Picture, side, symbol, text_width


@dataclass
class Element:
    """An element of a lane. ``kind``: weight, word, arrow, node or box."""

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
            if self.text:  # otherwise it is a gap
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
    return Element("weight", max(wide, 6.2 * shape, text_width(symbol(one.name))), weight=one, fill=fill)


def word(text: str) -> Element:
    return Element("word", 12 if text in "()" else 22, text)


def arrow(width: float = 24) -> Element:
    return Element("arrow", width)


def node(text: str, below: str = "", fill: str = "plain") -> Element:
    return Element("node", max(26, 6 * len(below)), text, below, fill=fill)


def lane_elements(method: dict[str, Any], branch: Branch) -> list[Element]:
    """Return the elements of a branch in order."""
    vectors, non_linear = list(branch.vectors), method.get("non_linearity")
    found: list[Element] = []
    if branch.steps is None and len(branch.weights) == 1 and "(Σ" in branch.formula:
        (one,) = branch.weights  # the input is cut into parts as long as the weight has rows
        return [node("Σ", f"{branch.start // one.rows} parts"), arrow(20), weight(one)]
    if branch.steps is None and branch.weights:
        return [part for one in branch.weights for part in (word(","), weight(one))][1:]
    if not branch.weights:
        shown = [weight(Weight(name, 1, length)) for name, length in vectors or [("", 1)]]
        return [part for one in shown for part in (word(","), one)][1:]
    steps = branch.steps or []
    for number, step in enumerate(steps):
        if number:
            found += [arrow(20)] + ([node("σ", str(non_linear)), arrow(20)] if non_linear else [])
        summed = any(isinstance(one, Weight) and one.copies > 1 and not one.diagonal for one in step)
        found += [word("Σ_{i}")] if summed else []
        found += [word(one) if isinstance(one, str) else weight(one) for one in step]
        found += [arrow(20), node(mixing, "permutes")] if (mixing := branch.mixing(number)) else []
        out = width_after(step)
        if bias := next((one for one in vectors if one[1] == out), None):
            vectors.remove(bias)
            found += [Element("word", 2), node("+b", str(out), "trains")]
    if branch.several:
        found.append(Element("word", 40, "+ …"))
    if (scale := float(method.get("scaling", 1))) != 1:
        found += [arrow(18), node("s", f"s = {scale:g}")]
    return found
