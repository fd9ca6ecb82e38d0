"""Draw where each method sits in a T5 block and what trains: `python docs/methods/draw.py [FOLDER]`.

Nothing here knows a method: each YAML of conf/method is inserted into a small T5, and the picture shows what is then in
the decoder's first block. A new method gets its drawing by being there.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from transformers import T5Config, T5ForConditionalGeneration

from krona import surgery
from krona.backbones.with_method import insert_method
from krona.config import check

HERE = Path(__file__).resolve().parent
LABELS = {
    "Kronecker": "A⊗B",
    "LoRA": "A B",
    "Bias": "+ b",
    "Adapter": "↓σ↑",
    "Compacter": "↓σ↑",
    "ParallelAdapter": "↓σ↑",
}
LABELS |= {
    "IA3": "⊙ l",
    "LoKr": "W⊗W",
    "MiSS": "Σ D",
    "C3A": "C(w)",
    "Monarch": "P L P R",
    "KAdaptation": "ΣA⊗uv",
    "CDKA": "ΣB⊗A",
}
TRAINS, FROZEN, INK, LINE = "#f4a259", "#e6e8eb", "#1f2933", "#7b8794"


@dataclass
class Picture:
    """An SVG in the making."""

    parts: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, w: float, h: float, text: str, fill: str, size: int = 12) -> None:
        self.parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="5" fill="{fill}" stroke="{INK}"/>')
        self.text(x + w / 2, y + h / 2 + size * 0.35, text, size)

    def text(self, x: float, y: float, text: str, size: int = 12, anchor: str = "middle") -> None:
        self.parts.append(f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{INK}">{text}</text>')

    def line(self, *points: tuple[float, float], arrow: bool = False) -> None:
        path = " ".join(f"{x},{y}" for x, y in points)
        end = ' marker-end="url(#arrow)"' if arrow else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.3"{end}/>')

    def svg(self, width: int, height: int) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
            f'<defs><marker id="arrow" markerWidth="7" markerHeight="7" refX="6" refY="3.5" orient="auto">'
            f'<path d="M0,0 L7,3.5 L0,7 z" fill="{LINE}"/></marker></defs>'
            f'<rect width="{width}" height="{height}" fill="white"/>'
        )
        return "\n".join([head, *self.parts, "</svg>\n"])


@dataclass
class Found:
    """What a method puts at the modules of one block, by the module's last names, and which weights train."""

    branches: dict[str, tuple[str, str, int, bool]]  # module → label, placement, how many, inner residual
    trained: set[str]

    def fill(self, *names: str) -> str:
        return TRAINS if any(f"{name}.weight" in self.trained for name in names) else FROZEN


def found(method: dict[str, Any]) -> Found:
    model = T5ForConditionalGeneration(
        T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=1, num_heads=4, vocab_size=20, decoder_start_token_id=0)
    )
    insert_method(model, check.method(method), counterparts={})
    branches = {}
    for name, adapted in surgery.adapted_modules(model):
        there: Any = adapted.branches["default"]
        label = LABELS.get(type(there[0]).__name__, type(there[0]).__name__)
        if "default" in adapted.magnitudes:
            label += "|m"
        place = adapted.places["default"]
        branches[surgery.public_name(name)] = (label, place.placement, len(there), place.inner_residual)
    return Found(branches, set(surgery.trainable_state(model)) | _tied(model))


def _tied(model: T5ForConditionalGeneration) -> set[str]:
    return {"lm_head.weight"} if model.lm_head.weight.requires_grad else set()


def linear(picture: Picture, at: Found, name: str, x: float, y: float, w: float = 40) -> None:
    """A linear layer with what stands at it."""
    short = name.rsplit(".", 1)[-1]
    picture.box(x, y, w, 26, short, at.fill(name))
    if name in at.branches:
        label, placement, _, _ = at.branches[name]
        label, _, magnitude = label.partition("|")
        width = max(22, 10 * len(label))
        spot = {"parallel": (x + w + 2, y + 3), "sequential": (x + w / 2 - width / 2, y - 20)}
        left, top = spot.get(placement, (x + w / 2 - width / 2, y + 28))
        picture.box(left, top, width, 18, label, TRAINS, 10)
        if magnitude:
            picture.box(x + w / 2 - 11, y - 20, 22, 18, magnitude, TRAINS, 10)


def sub_layer(picture: Picture, at: Found, x0: float, layer: int, block: str, title: str) -> None:
    """One sub-layer from bottom to top: LayerNorm, the block, the residual's sum."""
    prefix, middle = f"decoder.block.0.layer.{layer}", x0 + 118
    picture.text(middle, 24, title, 13)
    picture.line((middle, 410), (middle, 372), arrow=True)
    picture.line((middle, 396), (x0 + 8, 396), (x0 + 8, 48), (middle - 10, 48), arrow=True)
    norm = f"{prefix}.layer_norm"
    picture.box(middle - 55, 344, 110, 26, "LayerNorm", at.fill(norm))
    if norm in at.branches:
        picture.box(middle + 58, 348, 24, 18, at.branches[norm][0], TRAINS, 10)
    picture.line((middle, 344), (middle, 318), arrow=True)
    picture.parts.append(
        f'<rect x="{x0 + 22}" y="110" width="196" height="206" rx="8" fill="none" stroke="{LINE}" '
        f'stroke-dasharray="4"/>'
    )
    inside = f"{prefix}.{block}"
    if block == "DenseReluDense":
        linear(picture, at, f"{inside}.wo", middle - 20, 146)
        picture.box(middle - 30, 206, 60, 24, "ReLU", "white")
        linear(picture, at, f"{inside}.wi", middle - 20, 266)
    else:
        linear(picture, at, f"{inside}.o", middle - 20, 146)
        picture.box(middle - 60, 204, 120, 24, "attention", "white")
        for number, name in enumerate("qkv"):
            linear(picture, at, f"{inside}.{name}", x0 + 28 + number * 64, 266, 30)
    picture.line((middle, 110), (middle, 58), arrow=True)
    around(picture, at, inside, x0, middle)
    picture.parts.append(f'<circle cx="{middle}" cy="48" r="10" fill="white" stroke="{INK}"/>')
    picture.text(middle, 53, "+", 14)


def around(picture: Picture, at: Found, block: str, x0: float, middle: float) -> None:
    """What stands at a whole block: beside it, or after it."""
    if block not in at.branches:
        return
    label, placement, number, inner_residual = at.branches[block]
    if placement == "sequential":
        picture.box(middle - 32, 74, 64, 24, label, TRAINS)
        if inner_residual:
            picture.line((middle, 104), (middle + 46, 104), (middle + 46, 66), (middle + 2, 66), arrow=True)
        return
    for branch in range(number):
        left = x0 + 224 + branch * 34
        picture.box(left, 190, 30, 46, label, TRAINS, 10)
        picture.line((middle, 330), (left + 15, 330), (left + 15, 237), arrow=True)
        picture.line((left + 15, 190), (left + 15, 86), (middle + 2, 86), arrow=True)


def draw(method: dict[str, Any]) -> str:
    """The SVG of one method."""
    picture, at = Picture(), found(method)
    sub_layer(picture, at, 10, 0, "SelfAttention", "self-attention")
    sub_layer(picture, at, 300, 1, "EncDecAttention", "cross-attention (decoder only)")
    sub_layer(picture, at, 590, 2, "DenseReluDense", "FFN")
    picture.text(945, 24, "after the last block", 13)
    picture.box(890, 146, 84, 26, "lm_head", at.fill("lm_head"))
    if "lm_head" in at.branches:
        picture.box(977, 150, 24, 18, at.branches["lm_head"][0], TRAINS, 10)
    picture.box(890, 266, 110, 26, "final LayerNorm", at.fill("decoder.final_layer_norm"))
    picture.line((945, 266), (945, 174), arrow=True)
    picture.box(20, 430, 18, 14, "", TRAINS)
    picture.text(44, 442, "trains", 12, "start")
    picture.box(100, 430, 18, 14, "", FROZEN)
    picture.text(124, 442, "frozen", 12, "start")
    return picture.svg(1020, 456)


def main(folder: Path = HERE) -> None:
    for path in sorted((HERE.parents[1] / "conf" / "method").glob("*.yaml")):
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        (folder / f"{path.stem}.svg").write_text(draw(config["method"]), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
