"""Branches of krona's own for the tensors of each of peft's types."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from krona.adapters.peft.folder import Folder
from krona.adapters.peft.names import module_names, shortest
from krona.messages import KronaError
from krona.methods.c3a import C3A
from krona.methods.fitted_lora import FittedLoRA, of_rank
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA
from krona.methods.miss import MiSS
from krona.surgery.targets import widths
from krona.surgery.wrapper import public_name

Tensors = dict[str, Tensor]


@dataclass
class Branches:
    """Arguments of `surgery.insert` for the branches, and their tensors by krona's names."""

    branch: type[nn.Module] | None
    arguments: dict[str, Any]
    tensors: Tensors


def branches_for(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
    """The branches that compute what the folder's tensors do, ``placed`` by place and part."""
    build = {"LORA": _lora, "IA3": _ia3, "LOKR": _lokr, "MISS": _miss, "C3A": _c3a, "LN_TUNING": _none}
    return build[opened.peft_type](model, opened, placed)


def _lora(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
    dora = bool(opened.config.get("use_dora"))
    needed = {"lora_A.weight", "lora_B.weight", *(["lora_magnitude_vector"] if dora else [])}
    for place, parts in placed.items():
        if parts.keys() != needed:
            raise KronaError(f"{opened.path}: {place} has {sorted(parts)} and not {sorted(needed)}")
        shapes = tuple(parts["lora_A.weight"].shape), tuple(parts["lora_B.weight"].shape)
        if shapes[0][0] != shapes[1][1]:
            raise KronaError(f"{opened.path}: lora_A {shapes[0]} and lora_B {shapes[1]} of {place} have no one rank")
    ranks = {place: len(parts["lora_A.weight"]) for place, parts in placed.items()}
    scales = {place: opened.scaling(place, rank) for place, rank in ranks.items()}
    scaling, rank = _commonest(scales), max(ranks.values())
    narrow = False
    tensors: Tensors = {}
    for place, parts in placed.items():
        A, B = parts["lora_A.weight"].T, parts["lora_B.weight"].T
        B = _rescaled("lora_B.weight", B, _ratio(scales[place], scaling))
        tensors[f"{place}.0.A"], tensors[f"{place}.0.B"] = of_rank(A, B, rank)
        narrow |= rank > min(len(A), B.shape[1])
        if dora:
            tensors[f"{place}.magnitude"] = parts["lora_magnitude_vector"]
    arguments = {"rank": rank, "scaling": scaling, "magnitude": dora}
    branch = FittedLoRA if narrow else LoRA
    return Branches(branch, {"target_modules": _places(model, placed), **arguments}, tensors)


def _ia3(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
    scales = {place: parts["ia3_l"] for place, parts in placed.items()}
    if odd := [place for place, scale in scales.items() if 1 not in scale.shape]:
        raise KronaError(f"{opened.path}: ia3_l of {odd[0]} is {tuple(scales[odd[0]].shape)}, no row and no column")
    after = _places(model, [place for place, scale in scales.items() if scale.shape[1] == 1])
    before = _places(model, [place for place, scale in scales.items() if scale.shape[1] != 1])
    placement = ["sequential"] * len(after) + ["before"] * len(before)
    return Branches(
        IA3,
        {"target_modules": [*after, *before], "placement": placement, "inner_residual": False},
        {f"{place}.0.scale": scale.reshape(-1) for place, scale in scales.items()},
    )


def _lokr(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
    scales = {place: opened.scaling(place, opened.rank(place)) for place in placed}
    scaling = _commonest(scales)
    parts = {
        place: {key: _rescaled(key, p, _ratio(scales[place], scaling)) for key, p in own.items()}
        for place, own in placed.items()
    }
    targets = {"target_modules": _places(model, placed)}
    ranks = {opened.rank(place) for place in placed}
    full = all(own.keys() == {"lokr_w1", "lokr_w2"} for own in parts.values())
    shapes = {own["lokr_w1"].T.shape for own in parts.values()} if full else set()
    product = opened.branch == Kronecker.__name__ or len(ranks) > 1 or max(ranks) > _narrowest(model, placed)
    if len(shapes) == 1 and product:
        tensors = {f"{place}.0.A": own["lokr_w1"].T for place, own in parts.items()}
        tensors |= {f"{place}.0.B": own["lokr_w2"].T for place, own in parts.items()}
        return Branches(Kronecker, {**targets, "kron_factors": [list(*shapes)], "scaling": scaling}, tensors)
    if len(ranks) > 1:
        raise KronaError(f"{opened.path}: LoKr of several ranks ({sorted(ranks)}): krona's LoKr has one")
    config, (rank,) = opened.config, ranks
    arguments = {
        "rank": rank, "alpha": scaling * rank, "decompose_both": bool(config.get("decompose_both", False)),
        "decompose_factor": config.get("decompose_factor", -1),
    }  # fmt: skip
    tensors = {f"{place}.0.{key.removeprefix('lokr_')}": p for place, own in parts.items() for key, p in own.items()}
    return Branches(LoKr, {**targets, **arguments}, tensors)


def _miss(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
    parts = {place: own["miss_block"] for place, own in placed.items()}
    if len(ranks := {len(D) for D in parts.values()}) > 1:
        raise KronaError(f"{opened.path}: MiSS of several ranks ({sorted(ranks)}): krona's MiSS has one")
    arguments = {"target_modules": _places(model, placed), "rank": min(ranks)}
    return Branches(MiSS, arguments, {f"{place}.0.D": D for place, D in parts.items()})


def _c3a(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
    kernels = {place: own["c3a_kernel"] for place, own in placed.items()}
    if odd := next((place for place, w in kernels.items() if w.dim() != 3 or not w.numel()), None):
        raise KronaError(f"{opened.path}: c3a_kernel of {odd} is {tuple(kernels[odd].shape)}, no blocks of kernels")
    sizes = {w.shape[2] for w in kernels.values()}
    halved = all(math.gcd(m * b, n * b) == 2 * b for m, n, b in (w.shape for w in kernels.values()))
    if len(sizes) > 1 and not halved:
        raise KronaError(f"{opened.path}: C3A of several block sizes ({sorted(sizes)}): krona's C3A has one")
    arguments = {"target_modules": _places(model, placed), "block_size": None if halved else min(sizes)}
    return Branches(C3A, arguments, {f"{place}.0.kernels": w for place, w in kernels.items()})


def _none(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
    return Branches(None, {}, {})


def _narrowest(model: nn.Module, places: Iterable[str]) -> int:
    modules = {public_name(name): module for name, module in model.named_modules()}
    return min(min(widths(modules[place])) for place in places)


def _rescaled(key: str, tensor: Tensor, by: float) -> Tensor:
    return by * tensor if by != 1.0 and key in ("lora_B.weight", "lokr_w2", "lokr_w2_b") else tensor


def _ratio(scale: float, common: float) -> float:
    return 1.0 if scale == common else scale / common


def _commonest(scales: Mapping[str, float]) -> float:
    """The scale of most places; one of zero only where all are."""
    counted = Counter(scale for scale in scales.values() if scale != 0.0)
    return counted.most_common(1)[0][0] if counted else 0.0


def _places(model: nn.Module, places: Iterable[str]) -> list[str]:
    return shortest(places, module_names(model))
