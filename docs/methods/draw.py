"""Draw each method: what its branch computes, and where it is in T5-base. ``python docs/methods/draw.py [FOLDER]``.

The code knows no method. It inserts each YAML of conf/method into a block of T5-base on torch's meta device. The order
in which a branch uses its weights is read from their shapes: a product, a Kronecker product or a block-diagonal matrix.
So a new method gets a drawing without further code.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from drawing.block import draw_backbone, draw_block, inspect_method
from drawing.picture import WIDTH, Picture
from drawing.places import draw_place
from omegaconf import OmegaConf
from transformers import T5Config, T5ForConditionalGeneration

HERE = Path(__file__).resolve().parent


def draw(name: str, method: dict[str, Any], base: T5ForConditionalGeneration, lr_factors: Mapping[str, float]) -> str:
    """Return the SVG of one method, with the factors of the learning rate that its YAML file sets."""
    picture, at = Picture(), inspect_method(method, base)
    places = at.places[:2]
    if not places:
        bottom = draw_backbone(picture, at, 14)
    elif len(places) == 2 and not any(place.branch.weights for place in places):
        bottom = max(draw_place(picture, method, place, 14, 20 + 370 * i, 350) for i, place in enumerate(places))
    else:
        bottom = draw_place(picture, method, places[0], 14, 20, WIDTH - 40)
    if lr_factors:
        factors = ", ".join(f"{group} × {factor:g}" for group, factor in lr_factors.items())
        picture.text(14, bottom + 16, f"Learning rates: {factors}", "soft small", "start")
        bottom += 24
    return picture.svg(draw_block(picture, at, bottom + 26), name)


def main(folder: Path = HERE) -> None:
    sizes = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 1, "num_heads": 12}
    with torch.device("meta"):
        base = T5ForConditionalGeneration(T5Config(**sizes, vocab_size=32128, decoder_start_token_id=0))
    for path in sorted((HERE.parents[1] / "conf" / "method").glob("*.yaml")):
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        if "???" in path.read_text(encoding="utf-8"):  # conf/method/peft.yaml has no type
            continue
        factors = config.get("optimizer", {}).get("lr_factors", {})
        file = folder / f"{path.stem}.svg"
        new = not file.exists()
        file.write_text(draw(path.stem, config["method"], base, factors), encoding="utf-8")
        if new:
            print(file)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
