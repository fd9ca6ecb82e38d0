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
from krona.methods.peft_layers import Converted, Layers
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


@dataclass(frozen=True)
class Branches:
    """The branches of an adapter: their class, its arguments, the tensors, and the options of the insertion."""

    cls: type[Any] | None  # None for an adapter without branches
    arguments: dict[str, Any]
    tensors: dict[str, Tensor]
    insertion: dict[str, Any]


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
    tuners, complete = _find_layers(loaded.get_base_model())
    if keeps_tuner(peft_type, branch):
        branches = _adopt(model, tuners, loaded.peft_config["default"])
    elif peft_type == "LN_TUNING":
        complete |= {name: tuner.ln_tuning_layers["default"] for name, tuner in tuners.items()}
        branches = Branches(None, {}, {}, {})
    else:
        branches = _convert(model, tuners, config, path, branch)
    saved = _name_weights(complete, model, path)
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in saved))
    adapter_config = AdapterConfig(
        format=FORMAT,
        branch=class_path(branches.cls),
        branch_config=branches.arguments,
        insertion=_train_options(model, config, modules) | branches.insertion,
        backbone=None,
    )
    adapter = Adapter(adapter_config, branches.tensors | saved, path)
    return PeftImport(peft_type, len(tuners), tuple(modules), adapter, loaded)


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


def _find_layers(loaded: nn.Module) -> tuple[dict[str, Any], dict[str, nn.Module]]:
    """Return peft's tuner layers, and the complete modules of ``modules_to_save``, by module name."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    modules = dict(loaded.named_modules())
    tuners = {name: module for name, module in modules.items() if isinstance(module, BaseTunerLayer)}
    wrappers = {name: module for name, module in modules.items() if isinstance(module, ModulesToSaveWrapper)}
    return tuners, {name: wrapper.modules_to_save["default"] for name, wrapper in wrappers.items()}


def _name_weights(complete: Mapping[str, nn.Module], model: nn.Module, path: Path) -> dict[str, Tensor]:
    """Return the weights of complete modules by their names in the backbone."""
    weights = dict(backbone_parameters(model, tied=True))
    uses = Counter(map(id, weights.values()))
    named: dict[str, Tensor] = {}
    for module_name, module in complete.items():
        for key, tensor in module.named_parameters():
            name = f"{module_name}.{key}"
            name = name if name in weights else unwrapped(name)
            if name not in weights:
                raise KronaError(f"{path} contains {name}, but this backbone has no such weight.")
            if uses[id(weights[name])] > 1:
                raise KronaError(
                    f"In {path}, modules_to_save contains {name}, but two modules of this backbone share this weight. "
                    "peft trains a copy for one of the modules, but krona would change both modules."
                )
            named[name] = tensor.detach()
    return named


def _adopt(model: nn.Module, tuners: Mapping[str, Any], config: Any) -> Branches:
    """Return the branches of an adapter that keeps peft's tuner layers."""
    arguments, adopted = PeftBranch.adopt(tuners, config)
    tensors = by_first_name(
        (f"{module}.0.{key}", tensor)
        for module, branch in adopted.items()
        for key, tensor in (*branch.named_parameters(), *branch.named_buffers())
    )
    detached = {name: tensor.detach() for name, tensor in tensors.items()}
    return Branches(
        PeftBranch, {"config": arguments}, detached, {"target_modules": shortest(tuners, module_names(model))}
    )


def _convert(
    model: nn.Module, tuners: Mapping[str, Any], config: Mapping[str, Any], path: Path, branch: str | None
) -> Branches:
    """Return the branches of an adapter whose tensors krona's own class for the type of peft has too."""
    peft_type, names = str(config["peft_type"].value), module_names(model)
    for name, tuner in tuners.items():
        base = tuner.get_base_layer()
        if name not in names or not is_linear(base):
            kind = type(base).__name__
            raise KronaError(f"{path} adapts {name} ({kind}). krona supports only linear layers of the backbone.")
    layers = {name: _values(tuner) for name, tuner in tuners.items()}
    cls, arguments, by_module = _call_from_peft(peft_type, layers, config, path, branch)
    tensors = {f"{module}.0.{key}": tensor for module, values in by_module.items() for key, tensor in values.items()}
    insertion = _place_options(names, layers)
    if config.get("use_dora"):
        insertion["magnitude"] = True
        tensors |= {f"{module}.magnitude": layer["lora_magnitude_vector"] for module, layer in layers.items()}
    return Branches(cls, arguments, tensors, insertion)


def _values(layer: Any) -> dict[str, Any]:
    """Return the tensors and numbers of a peft layer by their names, such as ``lora_A`` and ``scaling``."""
    values = {name: getattr(layer, name, None) for name in ("in_features", "is_feedforward")}
    for name in (*layer.adapter_layer_names, *layer.other_param_names):
        by_adapter = getattr(layer, name, None)
        if by_adapter is not None and "default" in by_adapter:
            value = by_adapter["default"]
            value = getattr(value, "weight", value)  # lora_A, for example, is a linear layer
            values[name] = value.detach() if isinstance(value, Tensor) else value
    return values


def _call_from_peft(
    peft_type: str, layers: Layers, config: Mapping[str, Any], path: Path, branch: str | None
) -> Converted:
    for cls in sorted(branch_classes(peft_type), key=lambda cls: class_path(cls) != branch):
        try:
            converted: Converted | None = cls.from_peft(layers, config)
        except KronaError as error:
            raise KronaError(f"The {peft_type} adapter in {path} is not supported. {error}") from error
        if converted is not None:
            return converted
    raise KronaError(f"The {peft_type} adapter in {path} is not supported, because its modules differ too much.")


def _place_options(names: Sequence[str], layers: Layers) -> dict[str, Any]:
    """Return the options ``target_modules`` and, for (IA)³, ``placement``."""
    if not any("ia3_l" in layer for layer in layers.values()):
        return {"target_modules": shortest(layers, names)}
    before = shortest([module for module, layer in layers.items() if layer["is_feedforward"]], names)
    after = shortest([module for module, layer in layers.items() if not layer["is_feedforward"]], names)
    placement = ["sequential"] * len(after) + ["before"] * len(before)
    return {"target_modules": [*after, *before], "placement": placement, "inner_residual": False}


def _train_options(model: nn.Module, config: Mapping[str, Any], modules: Sequence[str]) -> dict[str, Any]:
    """Return the options ``train_layer_norms`` and ``head`` for the complete modules in the folder."""
    names, norms = module_names(model), set(norm_modules(model))
    every = bool(norms) and norms <= set(modules)
    listed = [word for word in config.get("modules_to_save") or [] if word in names]
    head = dict.fromkeys(outermost(module, listed) for module in modules if not (every and module in norms))
    return {"train_layer_norms": every, "head": list(head)}
