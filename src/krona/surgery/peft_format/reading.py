"""Reading of a folder that peft wrote, as branches of krona's own."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.fitted_lora import FittedLoRA, of_rank
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr
from krona.methods.lora import LoRA
from krona.surgery.insertion import activate, insert, take_out
from krona.surgery.peft_format.folder import Folder, open_folder
from krona.surgery.peft_format.names import module_names, norm_modules, shortest
from krona.surgery.targets import widths
from krona.surgery.trainable import adapter_state, copy_into
from krona.surgery.wrapper import of_an_adapter, public_name, state_of

Tensors = dict[str, Tensor]
PARTS = {
    "LORA": {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"},
    "IA3": {"ia3_l"},
    "LOKR": {"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"},
    "LN_TUNING": {"ln_tuning_layers.weight", "ln_tuning_layers.bias"},
}
MATRICES = ("lora_A", "lora_B", "ia3_l", "lokr_")


@dataclass(frozen=True)
class PeftImport:
    """What a peft folder held: its type, krona's branch for it (None: normalisations alone), and what it names."""

    peft_type: str
    branch: type[nn.Module] | None
    places: int
    modules_to_save: tuple[str, ...]
    base_model: str | None
    task_type: str | None


@dataclass
class _Branches:
    """Arguments of `surgery.insert` for the branches, and their tensors by krona's names."""

    branch: type[nn.Module] | None
    arguments: dict[str, Any]
    tensors: Tensors


@torch.no_grad()
def read_peft(model: nn.Module, folder: str | Path, *, name: str = "default") -> PeftImport:
    """Insert what a peft folder holds as an adapter, the active one; `save_adapter` then writes krona's file of it.

    LORA (with DoRA, rsLoRA, patterns of rank and alpha) becomes `LoRA`, IA3 `IA3`, LOKR `LoKr`, or `Kronecker` where
    krona wrote one or no `LoKr` of krona's has its rank; LN_TUNING and ``modules_to_save`` train as
    ``train_layer_norms`` and ``head``. Ranks that differ are filled up with zeros to the highest, and scales that
    differ are multiplied in: the function is the same. The places are those of the file's tensors. Dropout is not read.

    Raises:
        KronaError: another type, a setting that krona can't express, a pickle (never loaded), another backbone. The
            model is untouched then.
    """
    opened = open_folder(Path(folder))
    placed, saved = _sorted(model, opened)
    build = {"LORA": _lora, "IA3": _ia3, "LOKR": _lokr, "LN_TUNING": _none}[opened.peft_type]
    made = build(model, opened, placed)
    flags = _trained(model, opened, saved)
    before = state_of(model).active if "krona" in model.__dict__ else None
    insert(model, made.branch, name=name, **flags, **made.arguments)
    try:
        copy_into(adapter_state(model, name), made.tensors | saved)
    except KronaError as error:
        take_out(model, name)
        if "krona" in model.__dict__:
            activate(model, before)
        raise KronaError(f"{opened.path}: {error}") from error
    return PeftImport(
        peft_type=opened.peft_type,
        branch=made.branch,
        places=len(placed),
        modules_to_save=tuple(dict.fromkeys(key.rpartition(".")[0] for key in saved)),
        base_model=opened.config.get("base_model_name_or_path"),
        task_type=opened.config.get("task_type"),
    )


def _sorted(model: nn.Module, opened: Folder) -> tuple[dict[str, Tensors], Tensors]:
    """The tensors of the branches by place and part, and those of whole modules by the backbone's names."""
    own = {public_name(n): p.shape for n, p in model.named_parameters() if not of_an_adapter(n)}
    names = set(module_names(model))
    words = opened.config.get("modules_to_save") or []
    placed: dict[str, Tensors] = {}
    saved: Tensors = {}
    for key, tensor in opened.tensors.items():
        part = next((part for part in PARTS[opened.peft_type] if key.endswith(f".{part}")), None)
        if part is not None:
            place = key.removesuffix(f".{part}")
            if not tensor.numel() or (tensor.dim() != 2 and part.startswith(MATRICES)):
                raise KronaError(f"{opened.path}: {key} is {tuple(tensor.shape)}, no matrix")
            if place not in names:
                raise KronaError(f"{opened.path} has an adapter at {place}, which this backbone has not")
            if opened.peft_type == "LN_TUNING":
                saved[f"{place}.{part.removeprefix('ln_tuning_layers.')}"] = tensor
            placed.setdefault(place, {})[part] = tensor
        elif key not in own:
            raise KronaError(f"{opened.path} has weights {key}, which neither krona nor this backbone knows")
        elif not any(key.rpartition(".")[0].endswith(word) or f".{word}." in f".{key}" for word in words):
            raise KronaError(
                f"{opened.path} has weights {key} of the backbone, outside of modules_to_save (embeddings that were "
                "resized, or biases): krona has no adapter for them"
            )
        else:
            saved[key] = tensor
    for key, tensor in saved.items():
        if key not in own or own[key] != tensor.shape:
            here = tuple(own[key]) if key in own else "none"
            raise KronaError(f"{opened.path}: {key} is {tuple(tensor.shape)} there and {here} in this backbone")
    if not placed:
        raise KronaError(f"{opened.path} has no tensors of a {opened.peft_type} adapter")
    return placed, saved


def _trained(model: nn.Module, opened: Folder, saved: Tensors) -> dict[str, Any]:
    """``train_layer_norms`` and ``head`` that make exactly these weights train."""
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in saved))
    norms, known = set(norm_modules(model)), set(module_names(model))
    every = bool(norms) and norms <= set(modules)
    whole = [word for word in opened.config.get("modules_to_save") or [] if word in known]
    head: dict[str, None] = {}
    for module in modules:
        if not (every and module in norms):
            head[next((w for w in whole if module == w or module.startswith(f"{w}.")), module)] = None
    return {"train_layer_norms": every, "head": list(head)}


def _lora(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> _Branches:
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
    return _Branches(branch, {"target_modules": _places(model, placed), **arguments}, tensors)


def _ia3(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> _Branches:
    scales = {place: parts["ia3_l"] for place, parts in placed.items()}
    if odd := [place for place, scale in scales.items() if 1 not in scale.shape]:
        raise KronaError(f"{opened.path}: ia3_l of {odd[0]} is {tuple(scales[odd[0]].shape)}, no row and no column")
    after = _places(model, [place for place, scale in scales.items() if scale.shape[1] == 1])
    before = _places(model, [place for place, scale in scales.items() if scale.shape[1] != 1])
    placement = ["sequential"] * len(after) + ["before"] * len(before)
    return _Branches(
        IA3,
        {"target_modules": [*after, *before], "placement": placement, "inner_residual": False},
        {f"{place}.0.scale": scale.reshape(-1) for place, scale in scales.items()},
    )


def _lokr(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> _Branches:
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
        return _Branches(Kronecker, {**targets, "kron_factors": [list(*shapes)], "scaling": scaling}, tensors)
    if len(ranks) > 1:
        raise KronaError(f"{opened.path}: LoKr of several ranks ({sorted(ranks)}): krona's LoKr has one")
    config, (rank,) = opened.config, ranks
    arguments = {
        "rank": rank, "alpha": scaling * rank, "decompose_both": bool(config.get("decompose_both", False)),
        "decompose_factor": config.get("decompose_factor", -1),
    }  # fmt: skip
    tensors = {f"{place}.0.{key.removeprefix('lokr_')}": p for place, own in parts.items() for key, p in own.items()}
    return _Branches(LoKr, {**targets, **arguments}, tensors)


def _none(model: nn.Module, opened: Folder, placed: Mapping[str, Tensors]) -> _Branches:
    return _Branches(None, {}, {})


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
