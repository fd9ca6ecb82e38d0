"""Reading of a folder that peft wrote, as branches of krona's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from krona.adapters.peft.branches import Tensors, branches_for
from krona.adapters.peft.folder import Folder, open_folder
from krona.adapters.peft.names import module_names, norm_modules
from krona.messages import KronaError
from krona.surgery.insertion import activate, insert, take_out
from krona.surgery.trainable import adapter_state, copy_into
from krona.surgery.wrapper import of_an_adapter, public_name, state_of

PARTS = {
    "LORA": {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"},
    "IA3": {"ia3_l"},
    "LOKR": {"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"},
    "MISS": {"miss_block"},
    "C3A": {"c3a_kernel"},
    "LN_TUNING": {"ln_tuning_layers.weight", "ln_tuning_layers.bias"},
}
MATRICES = ("lora_A", "lora_B", "ia3_l", "lokr_", "miss_")


@dataclass(frozen=True)
class PeftImport:
    """What a peft folder held: its type, krona's branch for it (None: normalisations alone), and what it names."""

    peft_type: str
    branch: type[nn.Module] | None
    places: int
    modules_to_save: tuple[str, ...]
    base_model: str | None
    task_type: str | None


@torch.no_grad()
def read_peft(model: nn.Module, folder: str | Path, *, name: str = "default") -> PeftImport:
    """Insert what a peft folder holds as an adapter, the active one; `save_adapter` then writes krona's file of it.

    LORA (with DoRA, rsLoRA, patterns of rank and alpha) becomes `LoRA`, IA3 `IA3`, LOKR `LoKr`, or `Kronecker` where
    krona wrote one or no `LoKr` of krona's has its rank; MISS `MiSS`, C3A `C3A`; LN_TUNING and ``modules_to_save``
    train as ``train_layer_norms`` and ``head``. Ranks that differ are filled up with zeros to the highest, and scales
    that differ are multiplied in: the function is the same. The places are those of the file's tensors. Dropout is not
    read.

    Raises:
        KronaError: another type, a setting that krona can't express, a pickle (never loaded), another backbone. The
            model is untouched then.
    """
    opened = open_folder(Path(folder))
    placed, saved = _sorted(model, opened)
    made = branches_for(model, opened, placed)
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
