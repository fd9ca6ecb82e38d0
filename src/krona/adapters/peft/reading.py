"""Read a peft folder as an adapter of krona."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from krona.adapters.adapter import FORMAT, Adapter, AdapterConfig, class_path
from krona.adapters.branches import Branches
from krona.adapters.peft.folder import Folder, open_folder
from krona.adapters.peft.module_names import module_names, norm_modules, shortest
from krona.messages import KronaError
from krona.methods.c3a import C3A
from krona.methods.fitted_lora import FittedLoRA, widen_factors
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA
from krona.methods.miss import MiSS
from krona.surgery.state import backbone_parameters
from krona.surgery.targets import widths
from krona.surgery.wrapper import is_in_adapter, public_name

Tensors = dict[str, Tensor]

PARTS = {
    "LORA": {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"},
    "IA3": {"ia3_l"},
    "LOKR": {"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"},
    "MISS": {"miss_block"},
    "C3A": {"c3a_kernel"},
    "LN_TUNING": {"ln_tuning_layers.weight", "ln_tuning_layers.bias"},
}
MATRICES = ("lora_A", "lora_B", "ia3_l", "lokr_", "miss_")
SCALED = ("lora_B.weight", "lokr_w2", "lokr_w2_b")  # the tensors that are multiplied by a scale


@dataclass(frozen=True)
class PeftImport:
    """The content of a peft folder, with its adapter in krona's form.

    Args:
        places: the number of adapted modules.
        modules_to_save: the modules of the backbone whose complete weights are in the folder.
    """

    peft_type: str
    places: int
    modules_to_save: tuple[str, ...]
    adapter: Adapter


@torch.no_grad()
def read_peft(model: nn.Module, folder: str | Path) -> PeftImport:
    """Read a peft folder as an adapter of a backbone. The backbone is not changed.

    peft's type LORA becomes `LoRA`, also with DoRA, rsLoRA, ``rank_pattern`` and ``alpha_pattern``. IA3 becomes `IA3`,
    MISS becomes `MiSS` and C3A becomes `C3A`. LOKR becomes `LoKr`. It becomes `Kronecker` if krona wrote the folder
    from a `Kronecker`, or if `LoKr` does not support its ranks. LN_TUNING and ``modules_to_save`` become
    ``train_layer_norms`` and ``head``.

    In krona, all modules of an adapter have the same rank and scale. LORA tensors of a lower rank are therefore padded
    with zeros. If a module has another scale, its tensors are multiplied by the ratio of the scales. This does not
    change the outputs. The names of the tensors determine the adapted modules. Dropout is ignored.

    Raises:
        KronaError: krona does not support the type or a setting, the weights are a pickle file, or the folder belongs
            to another backbone.
    """
    opened = open_folder(Path(folder))
    placed, saved = _sort(model, opened)
    made = _BUILDERS[opened.peft_type](model, opened, placed)
    insertion = _trained(model, opened, saved)
    if made.branch is not None:
        insertion |= made.insertion
        if "target_modules" not in insertion:
            insertion["target_modules"] = shortest(placed, module_names(model))
    config = AdapterConfig(
        format=FORMAT,
        branch=None if made.branch is None else class_path(made.branch),
        branch_config=made.config,
        insertion=insertion,
        backbone=None,
    )
    return PeftImport(
        peft_type=opened.peft_type,
        places=len(placed),
        modules_to_save=tuple(dict.fromkeys(key.rpartition(".")[0] for key in saved)),
        adapter=Adapter(config, made.tensors | saved, opened.path),
    )


def _sort(model: nn.Module, opened: Folder) -> tuple[dict[str, Tensors], Tensors]:
    """Return the branches' tensors by module and name, and the tensors of complete modules by the backbone's names."""
    own = dict(backbone_parameters(model))
    tied = Counter(id(p) for n, p in model.named_parameters(remove_duplicate=False) if not is_in_adapter(n))
    names, words = set(module_names(model)), opened.config.get("modules_to_save") or []
    placed: dict[str, Tensors] = {}
    saved: Tensors = {}
    for key, tensor in opened.tensors.items():
        part = next((part for part in PARTS[opened.peft_type] if key.endswith(f".{part}")), None)
        if part is not None:
            place = key.removesuffix(f".{part}")
            if not tensor.numel() or (tensor.dim() != 2 and part.startswith(MATRICES)):
                raise KronaError(f"In {opened.path}, {key} has the shape {tuple(tensor.shape)}, so it is not a matrix.")
            if place not in names:
                raise KronaError(f"{opened.path} adapts {place}, but this backbone has no such module.")
            if opened.peft_type == "LN_TUNING":
                saved[f"{place}.{part.removeprefix('ln_tuning_layers.')}"] = tensor
            placed.setdefault(place, {})[part] = tensor
        elif key not in own:
            raise KronaError(f"{opened.path} contains the weight {key}, but this backbone has no such weight.")
        elif not any(key.rpartition(".")[0].endswith(word) or f".{word}." in f".{key}" for word in words):
            raise KronaError(
                f"{opened.path} contains the backbone's weight {key}, but modules_to_save does not name its module. "
                "krona cannot read such weights (resized embeddings or biases)."
            )
        elif tied[id(own[key])] > 1:
            raise KronaError(
                f"In {opened.path}, modules_to_save contains {key}, but two modules of this backbone share this "
                "weight. peft trains a copy for one of the modules, and krona would change both."
            )
        else:
            saved[key] = tensor
    for key, tensor in saved.items():
        if key not in own or own[key].shape != tensor.shape:
            here = tuple(own[key].shape) if key in own else "none"
            raise KronaError(
                f"The shape of {key} is {tuple(tensor.shape)} in {opened.path}, but {here} in this backbone."
            )
    if not placed:
        raise KronaError(f"{opened.path} contains no tensors of a {opened.peft_type} adapter.")
    return placed, saved


def _trained(model: nn.Module, opened: Folder, saved: Tensors) -> dict[str, Any]:
    """Return values of ``train_layer_norms`` and ``head`` with which the saved weights train, and no others."""
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in saved))
    norms, known = set(norm_modules(model)), set(module_names(model))
    every = bool(norms) and norms <= set(modules)
    whole = [word for word in opened.config.get("modules_to_save") or [] if word in known]
    head: dict[str, None] = {}
    for module in modules:
        if not (every and module in norms):
            head[next((w for w in whole if module == w or module.startswith(f"{w}.")), module)] = None
    return {"train_layer_norms": every, "head": list(head)}


def _read_lora(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
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
    rank = max(len(parts["lora_A.weight"]) for parts in placed.values())
    narrow = False
    tensors: Tensors = {}
    for place, parts in scaled.items():
        A, B = parts["lora_A.weight"].T, parts["lora_B.weight"].T
        tensors[f"{place}.0.A"], tensors[f"{place}.0.B"] = widen_factors(A, B, rank)
        narrow |= rank > min(len(A), B.shape[1])
        if dora:
            tensors[f"{place}.magnitude"] = parts["lora_magnitude_vector"]
    branch = FittedLoRA if narrow else LoRA
    return Branches(branch, {"rank": rank, "scaling": scaling}, tensors, {"magnitude": dora})


def _read_ia3(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
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
    return Branches(IA3, {}, {f"{place}.0.scale": scale.reshape(-1) for place, scale in scales.items()}, insertion)


def _read_lokr(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
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
        return Branches(Kronecker, {"kron_factors": [list(*shapes)], "scaling": scaling}, tensors)
    rank = opened.require_one("ranks", ranks)
    config = {
        "rank": rank,
        "alpha": scaling * rank,
        "decompose_both": bool(opened.config.get("decompose_both", False)),
        "decompose_factor": opened.config.get("decompose_factor", -1),
    }
    tensors = {f"{place}.0.{key.removeprefix('lokr_')}": p for place, own in scaled.items() for key, p in own.items()}
    return Branches(LoKr, config, tensors)


def _read_miss(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
    blocks = {place: own["miss_block"] for place, own in placed.items()}
    rank = opened.require_one("ranks", {len(D) for D in blocks.values()})
    return Branches(MiSS, {"rank": rank}, {f"{place}.0.D": D for place, D in blocks.items()})


def _read_c3a(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> Branches:
    kernels = {place: own["c3a_kernel"] for place, own in placed.items()}
    if odd := next((place for place, w in kernels.items() if w.dim() != 3 or not w.numel()), None):
        raise KronaError(
            f"In {opened.path}, c3a_kernel of {odd} has the shape {tuple(kernels[odd].shape)}. It must have three "
            "dimensions above 0."
        )
    halved = all(math.gcd(m * b, n * b) == 2 * b for m, n, b in (w.shape for w in kernels.values()))
    size = None if halved else opened.require_one("block sizes", {w.shape[2] for w in kernels.values()})
    return Branches(C3A, {"block_size": size}, {f"{place}.0.kernels": w for place, w in kernels.items()})


_BUILDERS = {
    "LORA": _read_lora, "IA3": _read_ia3, "LOKR": _read_lokr, "MISS": _read_miss, "C3A": _read_c3a,
    "LN_TUNING": lambda *_: Branches(None),
}  # fmt: skip


def _common_scale(scales: Mapping[str, float], placed: Mapping[str, Tensors]) -> tuple[float, Mapping[str, Tensors]]:
    """Return the most common scale other than 0, and the tensors for this scale.

    If a module has another scale, its tensors are multiplied by the ratio of the scales. The common scale is 0 only if
    the scales of all modules are 0.
    """
    counted = Counter(scale for scale in scales.values() if scale != 0.0)
    common = counted.most_common(1)[0][0] if counted else 0.0
    scaled = {
        place: {key: scales[place] / common * p if key in SCALED and scales[place] != common else p
                for key, p in parts.items()}
        for place, parts in placed.items()
    }  # fmt: skip
    return common, scaled
