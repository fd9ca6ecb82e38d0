"""Draw a decoder block of T5 with the branches of a method in it."""

import copy
import textwrap
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import T5ForConditionalGeneration

from drawing.branch import Branch, Weight
from drawing.elements import Element, arrow, weight, word
from drawing.picture import LONGEST, WIDTH, Picture, text_width
from drawing.places import PARTS, Place, draw_lane
from krona import surgery
from krona.backbones.insert_method import insert_method
from krona.config import check

FORK = 196  # pixels from the left to the place where a block's input splits
BLOCK = "decoder.block.0.layer"


@dataclass
class MethodInBlock:
    """The first decoder block with a method: the places of its branches and the names of the trained weights."""

    method: dict[str, Any]
    places: list[Place]
    at: dict[str, Place]  # by the module's name
    trained: set[str]

    def fill(self, name: str) -> str:
        return "trains" if f"{name}.weight" in self.trained else "frozen"

    def chip(self, name: str) -> tuple[str, str] | None:
        """Return the short text of a place and its placement."""
        if (place := self.at.get(name)) is None:
            return None
        text = place.branch.short(non_linear=bool(self.method.get("non_linearity")))
        return text + ("; m" if place.magnitude else ""), place.placement


def inspect_method(method: dict[str, Any], base: T5ForConditionalGeneration) -> MethodInBlock:
    with torch.device("meta"):
        model = copy.deepcopy(base)
        insert_method(model, check.method(method))
    places: list[Place] = []
    at: dict[str, Place] = {}
    for name, adapted in surgery.adapted_modules(model):
        branches: Any = adapted.branches["default"]
        wrapped, public = adapted.placements["default"], surgery.public_name(name)
        if not public.startswith((BLOCK, "lm_head")):
            continue
        widths = _widths(adapted.base)
        d_in, d_out = widths if wrapped.placement == "parallel" else (widths[wrapped.placement == "sequential"],) * 2
        magnitude = adapted.magnitudes["default"].magnitude if "default" in adapted.magnitudes else ()  # type: ignore[union-attr]
        branch, last = Branch.of(branches[0], d_in, d_out), public.rsplit(".", 1)[-1]
        place = Place(branch, wrapped.placement, wrapped.inner_residual, len(branches), len(magnitude), widths, [last])  # type: ignore[arg-type]
        for known in places:
            same_widths = not branch.weights or known.widths == place.widths
            if (known.placement, known.whole) == (place.placement, place.whole) and same_widths:
                known.modules += [last] if last not in known.modules else []
                place = known
                break
        else:
            places.append(place)
        at[public] = place
    tied = {"lm_head.weight"} if model.lm_head.weight.requires_grad else set()
    return MethodInBlock(method, places, at, set(surgery.trainable_state(model)) | tied)


def _widths(base: nn.Module) -> tuple[int, int]:
    return (base.in_features, base.out_features) if isinstance(base, nn.Linear) else (768, 768)


def draw_layer(
    picture: Picture, at: MethodInBlock, name: str, x: float, y: float, label: str, wide: float
) -> tuple[float, float]:
    """Draw a layer and its branch around the middle ``x``. Return the left and the right end."""
    chip = at.chip(name)
    if chip is None:
        picture.box(x - wide / 2, y, wide, 22, at.fill(name), label)
        return x - wide / 2, x + wide / 2
    text, placement = chip
    width = max(26.0, text_width(text) + 12)
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


def draw_sublayer(picture: Picture, at: MethodInBlock, number: int, title: str, top: float) -> float:
    """Draw a sub-layer: LayerNorm, the block, the sum with the residual. Return its lower end."""
    name, _ = PARTS[number]
    prefix, inside = f"{BLOCK}.{number}", f"{BLOCK}.{number}.{name}"
    around = at.at.get(inside)
    attention = name != "DenseReluDense"
    half, over = (45 if attention else 23), (40 if around and around.placement == "parallel" else 0)
    y = top + 26 + over + half
    picture.text(20, top + 12, title, "ink title", "start")
    picture.flow((20, y), (50, y), arrow=False)
    left, right = draw_layer(picture, at, f"{prefix}.layer_norm", 112, y, "LayerNorm", 78)
    picture.flow((50, y), (left - 1, y))
    picture.group(FORK - 6, y - half, 588 - FORK, 2 * half)
    picture.flow((right + 1, y), (FORK, y), arrow=False)
    if attention:
        ends = [
            draw_layer(picture, at, f"{inside}.{one}", 282, y + shift, one, 30)
            for one, shift in zip("qkv", (-28, 0, 28), strict=True)
        ]
        for (start, end), shift in zip(ends, (-28, 0, 28), strict=True):
            picture.flow((FORK, y), (FORK, y + shift), (start - 1, y + shift))
            picture.flow((end + 1, y + shift), (350, y + shift), (366, y), arrow=False)
        middle, last, wide = "attention", "o", 30
    else:
        start, end = draw_layer(picture, at, f"{inside}.wi", 282, y, "wi", 34)
        picture.flow((FORK, y), (start - 1, y))
        picture.flow((end + 1, y), (366, y))
        middle, last, wide = "ReLU", "wo", 34
    picture.box(367, y, 84, 26, "plain", middle)
    start, end = draw_layer(picture, at, f"{inside}.{last}", 520, y, last, wide)
    picture.flow((452, y), (start - 1, y))
    picture.flow((end + 1, y), (690, y))
    if around is not None:
        _draw_at_block(picture, at, around, inside, y, half)
    picture.flow((36, y), (36, y + half + 12), (702, y + half + 12), (702, y + 12))
    picture.node(702, y, "+")
    picture.flow((714, y), (742, y))
    return y + half + 22


def _draw_at_block(picture: Picture, at: MethodInBlock, place: Place, name: str, y: float, half: float) -> None:
    """Draw a branch at a whole block, in parallel to it or after it."""
    text, _ = at.chip(name) or ("", "")
    if place.placement == "sequential":
        picture.box(598, y, 52, 26, "trains", text)
        if place.inner_residual:
            picture.flow((588, y), (588, y - 26), (668, y - 26), (668, y - 11))
            picture.node(668, y, "+", r=9)
        return
    copies = f"{place.copies} × ({text})" if place.copies > 1 else text
    wide = text_width(copies) + 14
    lane_at = y - half - 22
    picture.flow((FORK - 14, y), (FORK - 14, lane_at), (391 - wide / 2 - 1, lane_at))
    picture.box(391 - wide / 2, lane_at, wide, 26, "trains", copies, "on math")
    picture.flow((391 + wide / 2 + 1, lane_at), (650, lane_at), (650, y - 12))
    picture.node(650, y, "+")


def has_same_attentions(at: MethodInBlock) -> bool:
    """Return whether both attentions have the same branches and trained weights."""
    contents = []
    for number, name in ((0, "SelfAttention"), (1, "EncDecAttention")):
        prefix = f"{BLOCK}.{number}."
        names = [
            p.removeprefix(prefix).replace(name, "attention") for p in {*at.at, *at.trained} if p.startswith(prefix)
        ]
        contents.append({one for one in names if "relative" not in one})
    return contents[0] == contents[1]


def draw_block(picture: Picture, at: MethodInBlock, top: float) -> float:
    picture.text(20, top, "Where it sits: a decoder block of T5", "ink title", "start")
    top += 18
    rows = (
        [(0, "self-attention and cross-attention")]
        if has_same_attentions(at)
        else [(0, "self-attention"), (1, "cross-attention")]
    )
    for number, title in [*rows, (2, "FFN")]:
        top = draw_sublayer(picture, at, number, title, top) + 10
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


def draw_backbone(picture: Picture, at: MethodInBlock, top: float) -> float:
    """Draw the weights of a method without branches, coloured by whether they train."""
    picture.text(20, top + 14, "No branch: the backbone's own weights", "ink title", "start")
    y = top + 44 + LONGEST / 2
    norm, layer = at.fill(f"{BLOCK}.0.layer_norm"), at.fill(f"{BLOCK}.0.SelfAttention.q")
    elements = [
        *(word("x"), arrow(40), Element("box", 52, "÷ rms", fill="plain"), arrow(30), word("⊙")),
        *(weight(Weight("γ", 1, 768), norm), arrow(40), weight(Weight("W", 768, 768), layer), arrow(40), word("y")),
    ]
    draw_lane(picture, elements, 20, y, WIDTH - 40)
    return y + LONGEST / 2 + 30
