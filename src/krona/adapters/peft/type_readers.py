"""Convert the tensors of a peft folder to branches of krona, with one function for each of peft's types."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from krona.adapters.peft.folder import Folder
from krona.adapters.peft.module_names import module_names, shortest
from krona.messages import KronaError
from krona.methods.c3a import C3A
from krona.methods.fitted_lora import fit_loras
from krona.methods.hira import HiRA
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.miss import MiSS
from krona.methods.vera import VeRA
from krona.surgery.targets import widths
from krona.surgery.wrapper import public_name

Tensors = dict[str, Tensor]
Parts = tuple[type[nn.Module] | None, dict[str, Any], Tensors, dict[str, Any]]  # the arguments of `Adapter.create`

SCALED = ("lora_B.weight", "lokr_w2", "lokr_w2_b")  # the tensors that are multiplied by a scale


def _read_lora(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Parts:
    dora = bool(opened.config.get("use_dora"))
    needed = {"lora_A.weight", "lora_B.weight", *(["lora_magnitude_vector"] if dora else [])}
    for place, parts in placed.items():
        if parts.keys() != needed:
            raise KronaError(
                f"In {opened.path}, {place} has the tensors {sorted(parts)}, but it needs {sorted(needed)}."
            )
        shapes = tuple(parts["lora_A.weight"].shape), tuple(parts["lora_B.weight"].shape)
        if shapes[0][0] != shapes[1][1]:
            raise KronaError(f"In {opened.path}, lora_A {shapes[0]} and lora_B {shapes[1]} of {place} differ in rank.")
    scaling, scaled = _common_scale(
        {place: opened.scaling(place, len(parts["lora_A.weight"])) for place, parts in placed.items()}, placed
    )
    factors = {place: (parts["lora_A.weight"].T, parts["lora_B.weight"].T) for place, parts in scaled.items()}
    branch, config, tensors = fit_loras(factors, scaling)
    if dora:
        tensors |= {f"{place}.magnitude": parts["lora_magnitude_vector"] for place, parts in scaled.items()}
    return branch, config, tensors, {"magnitude": dora}


def _read_ia3(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Parts:
    scales = {place: parts["ia3_l"] for place, parts in placed.items()}
    if odd := [place for place, scale in scales.items() if 1 not in scale.shape]:
        raise KronaError(
            f"In {opened.path}, ia3_l of {odd[0]} has the shape {tuple(scales[odd[0]].shape)}, so it is not a row or a "
            "column."
        )
    names = module_names(model)
    after = shortest([place for place, scale in scales.items() if scale.shape[1] == 1], names)
    before = shortest([place for place, scale in scales.items() if scale.shape[1] != 1], names)
    insertion = {
        "target_modules": [*after, *before],
        "placement": ["sequential"] * len(after) + ["before"] * len(before),
        "inner_residual": False,
    }
    return IA3, {}, {f"{place}.0.scale": scale.reshape(-1) for place, scale in scales.items()}, insertion


def _read_lokr(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Parts:
    ranks = {opened.rank(place) for place in placed}
    scaling, scaled = _common_scale({place: opened.scaling(place, opened.rank(place)) for place in placed}, placed)
    full = all(own.keys() == {"lokr_w1", "lokr_w2"} for own in scaled.values())
    shapes = {own["lokr_w1"].T.shape for own in scaled.values()} if full else set()
    modules = {public_name(name): module for name, module in model.named_modules()}
    narrowest = min(min(widths(modules[place])) for place in placed)
    product = opened.branch == Kronecker.__name__ or len(ranks) > 1 or max(ranks) > narrowest
    if len(shapes) == 1 and product:
        tensors = {f"{place}.0.A": own["lokr_w1"].T for place, own in scaled.items()}
        tensors |= {f"{place}.0.B": own["lokr_w2"].T for place, own in scaled.items()}
        return Kronecker, {"kron_factors": [list(*shapes)], "scaling": scaling}, tensors, {}
    rank = opened.require_one("ranks", ranks)
    config = {
        "rank": rank,
        "alpha": scaling * rank,
        "decompose_both": bool(opened.config.get("decompose_both", False)),
        "decompose_factor": opened.config.get("decompose_factor", -1),
    }
    tensors = {f"{place}.0.{key.removeprefix('lokr_')}": p for place, own in scaled.items() for key, p in own.items()}
    return LoKr, config, tensors, {}


def _read_miss(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Parts:
    blocks = {place: own["miss_block"] for place, own in placed.items()}
    rank = opened.require_one("ranks", {len(D) for D in blocks.values()})
    return MiSS, {"rank": rank}, {f"{place}.0.D": D for place, D in blocks.items()}, {}


def _read_c3a(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Parts:
    kernels = {place: own["c3a_kernel"] for place, own in placed.items()}
    if odd := next((place for place, w in kernels.items() if w.dim() != 3 or not w.numel()), None):
        raise KronaError(
            f"In {opened.path}, c3a_kernel of {odd} has the shape {tuple(kernels[odd].shape)}. It must have "
            "three dimensions and no dimension of size 0."
        )
    halved = all(math.gcd(m * b, n * b) == 2 * b for m, n, b in (w.shape for w in kernels.values()))
    size = None if halved else opened.require_one("block sizes", {w.shape[2] for w in kernels.values()})
    return C3A, {"block_size": size}, {f"{place}.0.kernels": w for place, w in kernels.items()}, {}


def _common_scale(scales: Mapping[str, float], placed: Mapping[str, Tensors]) -> tuple[float, Mapping[str, Tensors]]:
    """Return the most common scale other than 0 (or 0 if all are 0), and the tensors for this scale.

    If a module has another scale, its tensors are multiplied by the ratio of the scales.
    """
    counted = Counter(scale for scale in scales.values() if scale != 0.0)
    common = counted.most_common(1)[0][0] if counted else 0.0
    scaled = {
        place: {key: scales[place] / common * p if key in SCALED and scales[place] != common else p
                for key, p in parts.items()}
        for place, parts in placed.items()
    }  # fmt: skip
    return common, scaled


def _read_hira(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Parts:
    rank = opened.require_one("ranks", {len(own["hira_A"]) for own in placed.values()})
    tensors = {f"{place}.0.{key.removeprefix('hira_')}": p.T for place, own in placed.items() for key, p in own.items()}
    return HiRA, {"rank": rank}, tensors, {}


def _read_vera(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Parts:
    """Return the trained vectors, and the random seed with which krona and peft create the same frozen matrices.

    peft uses slices of one matrix A and one matrix B for narrower layers, but krona creates A and B for each shape. So
    layers of several shapes, and matrices that the seed does not create, raise an error.
    """
    modules = {public_name(name): module for name, module in model.named_modules()}
    shapes = {widths(modules[place]) for place in placed}
    if len(shapes) > 1:
        raise KronaError(
            f"The VERA adapter in {opened.path} has layers of several shapes ({sorted(shapes)}). krona supports only "
            "one shape."
        )
    config = {
        "rank": opened.require_one("ranks", {len(own["vera_lambda_d"]) for own in placed.values()}),
        "d_initial": opened.config.get("d_initial", 0.1),
        "seed": opened.config.get("projection_prng_key", 0),
    }
    drawn = VeRA(*shapes.pop(), **config)
    for key, own in zip(("vera_A", "vera_B"), drawn.factors(), strict=True):
        saved = opened.shared.get(key)
        if saved is not None and not torch.equal(saved.float(), own.to(saved.dtype).float()):
            raise KronaError(
                f"In {opened.path}, {key} differs from the matrix of projection_prng_key={config['seed']}. krona "
                "cannot store other matrices."
            )
    names = {"vera_lambda_b": "b", "vera_lambda_d": "d"}
    tensors = {f"{place}.0.{names[key]}": p for place, own in placed.items() for key, p in own.items()}
    return VeRA, config, tensors, {}


READERS: Mapping[str, Callable[[nn.Module, Folder, Mapping[str, Tensors]], Parts]] = {
    "LORA": _read_lora, "IA3": _read_ia3, "LOKR": _read_lokr, "MISS": _read_miss, "C3A": _read_c3a,
    "HIRA": _read_hira, "VERA": _read_vera, "LN_TUNING": lambda *_: (None, {}, {}, {}),
}  # fmt: skip
