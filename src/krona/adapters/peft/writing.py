"""Write an adapter as a folder that ``PeftModel.from_pretrained(base, folder)`` loads."""

import json
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from krona.adapters.peft.module_names import BRANCH, CONFIG, PREFIX, WEIGHTS, module_names, shortest
from krona.adapters.peft.tensor_formats import find_form
from krona.messages import KronaError
from krona.safe_files import write_whole
from krona.surgery.state import Insertion, active_adapter, backbone_parameters, get_adapter, get_state
from krona.surgery.trainable import adapter_state


@dataclass(frozen=True)
class PeftFolder:
    """The content of a peft folder."""

    peft_type: str
    places: int  # the number of adapted modules
    own_values: int  # the number of values in the branches' tensors in krona's form, and in peft's form
    values: int
    config: dict[str, Any]


@torch.no_grad()
def write_peft(
    model: nn.Module,
    folder: str | Path,
    *,
    name: str | None = None,
    base_model: str | None,
    revision: str | None = None,
    task_type: str | None = None,
) -> PeftFolder:
    """Write one adapter as ``adapter_config.json`` and ``adapter_model.safetensors``.

    krona's methods are written as these types of peft:

    - LORA: LoRA and DoRA. A linear update that fits no other type is written as an exactly equal LORA
      (`krona.adapters.update.low_rank`).
    - IA3, MISS, C3A, HIRA: krona's methods with these names.
    - LOKR: LoKr, and KronA if its factors have the shapes that peft would compute.
    - VERA: VeRA, if all layers have the same shape.
    - LN_TUNING: an adapter that trains LayerNorms and has no branches.

    Trained LayerNorms of other adapters, and a head, are written as ``modules_to_save``.

    Args:
        name: the name of the adapter. None means the active adapter.
        base_model: None, or the name or the folder of the backbone, for peft's config.
        revision: the commit, tag or branch of a backbone of the Hub.
        task_type: peft's name for the model's class (``SEQ_2_SEQ_LM``, ``SEQ_CLS``, ``CAUSAL_LM``), or None.

    Raises:
        KronaError: no type of peft fits the adapter. Nothing is written in this case.
    """
    name = name or active_adapter(model)
    adapter = get_adapter(model, name)
    if adapter.insertion["train_backbone"]:
        raise KronaError("Full fine-tuning trains no adapter that peft could load. Export the merged model instead.")
    names, form = module_names(model), find_form(model, name)
    saved = _modules_to_save(adapter, exclude=form.places if form.peft_type == "LN_TUNING" else ())
    if not form.places:
        raise KronaError(f"Adapter {name!r} trains nothing that peft could load.")
    trained = {f"{module}.{key}": p for module in saved for key, p in _whole(model, adapter, module).items()}
    config = {
        "peft_type": form.peft_type,
        "target_modules": shortest(form.places, names),
        "modules_to_save": shortest(saved, names, str.endswith) or None,  # peft compares the ends of names
        "base_model_name_or_path": base_model,
        "revision": revision,
        "task_type": task_type,
        "inference_mode": True,
        **form.config,
    }
    named = {f"{PREFIX}{key}": p for key, p in (form.tensors | trained).items()}
    named |= {f"base_model.{key}": p for key, p in form.shared.items()}
    tensors = {key: p.detach().cpu().clone().contiguous() for key, p in named.items()}
    metadata = {"format": "pt", BRANCH: getattr(adapter.branch, "__name__", "none")}
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    write_whole(Path(folder, WEIGHTS), lambda part: save_file(tensors, part, metadata=metadata))
    write_whole(Path(folder, CONFIG), lambda part: part.write_text(text))
    own = [p for key, p in adapter_state(model, name).items() if key not in adapter.trained]
    values = sum(p.numel() for p in form.tensors.values())
    return PeftFolder(form.peft_type, len(form.places), sum(p.numel() for p in own), values, config)


def _modules_to_save(adapter: Insertion, exclude: Container[str]) -> list[str]:
    """Return the names of the modules whose own parameters train. For a head, return its outermost modules."""
    head = [str(module) for module in adapter.insertion.get("head", ())]
    found: dict[str, None] = {}
    for key in adapter.trained:
        module = key.rpartition(".")[0]
        outer = next((h for h in head if module == h or module.startswith(f"{h}.")), None)
        if module not in exclude:
            found[outer or module] = None
    return list(found)


def _whole(model: nn.Module, adapter: Insertion, module: str) -> dict[str, Tensor]:
    own = dict(backbone_parameters(model))
    values: dict[str, Tensor] = {**own, **get_state(model).originals, **adapter.trained}
    return {key.removeprefix(f"{module}."): values[key] for key in own if key.startswith(f"{module}.")}
