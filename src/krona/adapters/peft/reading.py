"""Read a peft folder as an adapter of krona."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from krona.adapters.adapter import FORMAT, Adapter, AdapterConfig, class_path
from krona.adapters.peft.folder import branch_classes, keeps_tuner, load_folder, unwrapped
from krona.backbones.module_names import module_names, outermost, shortest
from krona.backbones.peft_branch import PeftBranch
from krona.backbones.peft_config import PROMPT_TYPES
from krona.messages import KronaError
from krona.methods.peft_layers import Converted
from krona.surgery.layers import is_linear
from krona.surgery.state import backbone_parameters, norm_modules
from krona.surgery.trainable import by_first_name


@dataclass(frozen=True)
class PeftImport:
    """The content of a peft folder, converted to an adapter of krona."""

    peft_type: str
    num_modules: int  # the number of adapted modules; 0 for a prompt
    modules_to_save: tuple[str, ...]  # the modules of the backbone whose complete weights are in the folder
    adapter: Adapter
    model: nn.Module  # the backbone with the adapter, as loaded by peft


@torch.no_grad()
def read_peft(model: nn.Module, folder: str | Path, *, branch: str | None = None) -> PeftImport:
    """Read a peft folder as an adapter of a backbone. The backbone is not changed.

    peft loads the folder. The branch class with the matching ``peft_type`` converts the layers, so LORA becomes `LoRA`
    (also with DoRA, rsLoRA, ``rank_pattern`` and ``alpha_pattern``). LN_TUNING and ``modules_to_save`` become the
    options ``train_layer_norms`` and ``head``.

    In krona, all modules of an adapter have the same rank and scale. LORA tensors of a lower rank are therefore padded
    with zeros. If a module has another scale, its tensors are multiplied by the ratio of the scales. The outputs
    do not change. Dropout is ignored.

    Args:
        branch: the dotted path of the preferred class, if several classes have the folder's type. For example, LOKR
            can be read as `Kronecker` or `LoKr`. By default, the first class that fits is used.

    Raises:
        KronaError: krona does not support the type or a setting, the weights are a pickle file, or the folder belongs
            to another backbone.
    """
    path = Path(folder)
    loaded = load_folder(model, path, branch)
    config = loaded.peft_config["default"].to_dict()
    peft_type = str(config["peft_type"].value)
    if peft_type in PROMPT_TYPES:
        return _read_prompt(loaded, peft_type, path)
    whole = keeps_tuner(peft_type, branch)
    layers, saved = _collect(loaded.get_base_model(), model, path, whole=whole)
    chosen: Any = None
    if whole:
        chosen = PeftBranch
        arguments, tensors = _adopt(layers, loaded.peft_config["default"])
    elif peft_type == "LN_TUNING":
        arguments, tensors = dict[str, Any](), dict[str, Tensor]()
    else:
        chosen, arguments, by_place = _convert(peft_type, layers, config, path, branch)
        tensors = {f"{module}.0.{key}": tensor for module, own in by_place.items() for key, tensor in own.items()}
    insertion = _train_options(model, config, saved)
    if chosen is not None:
        insertion |= _place_options(module_names(model), layers)
    if config.get("use_dora") and not whole:
        insertion["magnitude"] = True
        tensors |= {f"{module}.magnitude": layer["lora_magnitude_vector"] for module, layer in layers.items()}
    adapter_config = AdapterConfig(
        format=FORMAT, branch=class_path(chosen), branch_config=arguments, insertion=insertion, backbone=None
    )
    modules = tuple(dict.fromkeys(key.rpartition(".")[0] for key in saved))
    return PeftImport(peft_type, len(layers), modules, Adapter(adapter_config, tensors | saved, path), loaded)


def _read_prompt(loaded: Any, peft_type: str, path: Path) -> PeftImport:
    from krona.backbones.prompts import PromptBranch  # imports transformers

    arguments, tensors = PromptBranch.read(loaded.prompt_encoder["default"], loaded.peft_config["default"])
    config = AdapterConfig(
        format=FORMAT,
        branch=class_path(PromptBranch),
        branch_config=arguments,
        insertion={"train_layer_norms": False, "head": []},
        backbone=None,
    )
    return PeftImport(peft_type, 0, (), Adapter(config, tensors, path), loaded)


def _adopt(layers: Mapping[str, Mapping[str, Any]], config: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments and the tensors of a `PeftBranch` adapter with these tuner layers."""
    arguments, branches = PeftBranch.adopt({module: layer["tuner"] for module, layer in layers.items()}, config)
    tensors = by_first_name(
        (f"{module}.0.{key}", tensor)
        for module, branch in branches.items()
        for key, tensor in (*branch.named_parameters(), *branch.named_buffers())
    )
    return {"config": arguments}, {name: tensor.detach() for name, tensor in tensors.items()}


def _collect(
    loaded: nn.Module, model: nn.Module, path: Path, *, whole: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
    """Return the tensors and numbers of each peft layer by module name, and the tensors of complete modules.

    With ``whole``, the tuner layers themselves are returned, with the key ``tuner``.
    """
    from peft.tuners.ln_tuning.layer import LNTuningLayer
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    names = set(module_names(model))
    weights = dict(backbone_parameters(model, tied=True))
    uses = Counter(map(id, weights.values()))
    layers: dict[str, dict[str, Any]] = {}
    saved: dict[str, Tensor] = {}
    for name, module in loaded.named_modules():
        complete: Any = None
        if isinstance(module, ModulesToSaveWrapper):
            complete = module.modules_to_save["default"]
        elif whole and isinstance(module, BaseTunerLayer):
            layers[name] = {"tuner": module}
        elif isinstance(module, LNTuningLayer):
            complete, layers[name] = module.ln_tuning_layers["default"], {}
        elif isinstance(module, BaseTunerLayer):
            if name not in names or not is_linear(module.get_base_layer()):
                kind = type(module.get_base_layer()).__name__
                raise KronaError(f"{path} adapts {name} ({kind}). krona supports only linear layers of the backbone.")
            layers[name] = _values(module)
        for key, tensor in complete.named_parameters() if complete is not None else ():
            weight_name = f"{name}.{key}"
            weight_name = weight_name if weight_name in weights else unwrapped(weight_name)
            if weight_name not in weights:
                raise KronaError(f"{path} contains {weight_name}, but this backbone has no such weight.")
            if uses[id(weights[weight_name])] > 1:
                raise KronaError(
                    f"In {path}, modules_to_save contains {weight_name}, but two modules of this backbone share this "
                    "weight. peft trains a copy for one of the modules, but krona would change both modules."
                )
            saved[weight_name] = tensor.detach()
    return layers, saved


def _values(layer: Any) -> dict[str, Any]:
    """Return the tensors and numbers of a peft layer by their names, such as ``lora_A`` and ``scaling``."""
    values = {name: getattr(layer, name, None) for name in ("in_features", "is_feedforward")}
    for name in (*layer.adapter_layer_names, *layer.other_param_names):
        held = getattr(layer, name, None)
        if held is not None and "default" in held:
            value = getattr(held["default"], "weight", held["default"])  # lora_A, for example, is a linear layer
            values[name] = value.detach() if isinstance(value, Tensor) else value
    return values


def _convert(
    peft_type: str, layers: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any], path: Path, branch: str | None
) -> Converted:
    for cls in sorted(branch_classes(peft_type), key=lambda cls: class_path(cls) != branch):
        try:
            found: Converted | None = cls.from_peft(layers, config)
        except KronaError as error:
            raise KronaError(f"The {peft_type} adapter in {path} is not supported. {error}") from error
        if found is not None:
            return found
    raise KronaError(f"The {peft_type} adapter in {path} is not supported, because its modules differ too much.")


def _place_options(names: Sequence[str], layers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options ``target_modules`` and, for (IA)³, ``placement``."""
    if not any("ia3_l" in layer for layer in layers.values()):
        return {"target_modules": shortest(layers, names)}
    before = shortest([module for module, layer in layers.items() if layer["is_feedforward"]], names)
    after = shortest([module for module, layer in layers.items() if not layer["is_feedforward"]], names)
    placement = ["sequential"] * len(after) + ["before"] * len(before)
    return {"target_modules": [*after, *before], "placement": placement, "inner_residual": False}


def _train_options(model: nn.Module, config: Mapping[str, Any], saved: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the options ``train_layer_norms`` and ``head`` for the complete modules in the folder."""
    names, norms = module_names(model), set(norm_modules(model))
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in saved))
    every = bool(norms) and norms <= set(modules)
    whole = [word for word in config.get("modules_to_save") or [] if word in names]
    head = dict.fromkeys(outermost(module, whole) for module in modules if not (every and module in norms))
    return {"train_layer_norms": every, "head": list(head)}
