"""Write an adapter as a folder that ``PeftModel.from_pretrained(base, folder)`` loads."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from krona.backbones.module_names import module_names, outermost, shortest
from krona.backbones.peft_branch import PeftBranch, bare_copy
from krona.backbones.peft_config import quiet, require_peft
from krona.kernels.kronecker import with_identity
from krona.messages import KronaError, first_line
from krona.methods.branch import Branch
from krona.surgery.branches import branch_matrix
from krona.surgery.layers import is_conv1d, is_linear, is_quantised
from krona.surgery.state import (
    InsertedAdapter,
    adapted_modules,
    backbone_parameters,
    get_adapter,
    norm_modules,
    prompt_length,
)
from krona.surgery.target_modules import widths
from krona.surgery.wrapper import Adapted, public_name

INSTEAD = "peft cannot represent such an adapter. Merge the branches, or keep krona's file."
PATTERNS = {"r": "rank_pattern", "lora_alpha": "alpha_pattern", "alpha": "alpha_pattern"}
PATTERNS |= {"block_size": "block_size_pattern"}  # maps a setting to the setting with exceptions for single modules

NAMES = ("target_modules", "feedforward_modules")  # settings with names of modules


@dataclass(frozen=True)
class PeftFolder:
    """The content of a peft folder."""

    peft_type: str
    num_modules: int  # the number of adapted modules; 0 for a prompt
    config: dict[str, Any]


@dataclass(frozen=True)
class Form:
    """An adapter as peft stores it: the type, the config, and each module's tensors by their names in peft's layer."""

    peft_type: str
    config: dict[str, Any]
    layers: Mapping[str, Mapping[str, Tensor]]


@torch.no_grad()
def write_peft(
    model: nn.Module,
    folder: str | Path,
    *,
    base_model: str | None,
    revision: str | None = None,
    task_type: str | None = None,
) -> PeftFolder:
    """Write the adapter of a model as a peft folder. peft itself builds and saves the adapter.

    An adapter is written as the ``peft_type`` of its class if peft's layers have the same tensors. Any other linear
    update is written as a LORA with exactly the same update (`low_rank`). An adapter that trains
    only LayerNorms is written as LN_TUNING. Trained LayerNorms of other adapters, and a head, are written as
    ``modules_to_save``.

    Args:
        base_model: the name or the folder of the backbone in peft's config, or None.
        revision: the commit, tag or branch of a backbone on the Hub.
        task_type: peft's name for the model's class (``SEQ_2_SEQ_LM``, ``SEQ_CLS``, ``CAUSAL_LM``), or None.

    Raises:
        KronaError: peft is not installed, the backbone is in 4 bits, the adapter trains the whole backbone or nothing,
            or peft cannot represent a branch. No file is then written.
    """
    require_peft()
    if any(map(is_quantised, model.modules())):
        raise KronaError("An adapter of a backbone in 4 bits cannot be exported to peft. Use the merged model instead.")
    adapter = get_adapter(model)
    if adapter.options["train_backbone"]:
        raise KronaError("Full fine-tuning trains no adapter that peft could load. Export the merged model instead.")
    if adapter.branch is not None and adapter.branch.existing_parameter is not None:
        raise KronaError(f"{adapter.branch.__name__} trains only biases. {INSTEAD}")
    if prompt_length(model):
        return _write_prompt(model, adapter, str(folder), base_model_name_or_path=base_model, revision=revision)
    modules = {public_name(path): adapted for path, adapted in adapted_modules(model)}
    head = adapter.options.get("head", ())
    saved = list(dict.fromkeys(outermost(key.rpartition(".")[0], head) for key in adapter.trained))
    norms = [] if modules else [module for module in norm_modules(model) if module in saved]
    if not modules and not norms:
        raise KronaError("The adapter trains nothing that peft could load.")
    saved = [module for module in saved if module not in norms]
    if adapter.branch is PeftBranch:
        form, loaded = _build_tuner(model, modules, adapter, saved)
    else:
        built = ((form, _build(model, form, adapter, saved)) for form in _forms(model, modules, norms))
        form, loaded = next(pair for pair in built if pair[1] is not None)  # every linear update can be a LORA
    config = loaded.peft_config["default"]
    config.base_model_name_or_path, config.revision, config.task_type = base_model, revision, task_type
    for key in NAMES:  # peft converts the lists to sets, whose order is random
        if key in form.config:
            setattr(config, key, form.config[key])
    loaded.get_base_model().name_or_path = ""  # otherwise peft writes the path of the backbone into the config
    loaded.save_pretrained(str(folder), save_embedding_layers=False)
    return PeftFolder(form.peft_type, len(form.layers), config.to_dict())


def _write_prompt(model: Any, adapter: InsertedAdapter, folder: str, **source: str | None) -> PeftFolder:
    """Write the prompt. peft stores the prompt itself, without the network that computed it in training."""
    import peft

    from krona.backbones.prompts import IN_CACHE  # imports transformers

    if not model.can_generate():
        raise KronaError(
            "The classifier of peft's model reads the state of the prompt's first position, but krona's reads the "
            "state of the text's first token. Keep krona's file."
        )
    prompt: Any = model.get_submodule("prompts").branches
    if prompt.config["peft_type"] in IN_CACHE:
        raise KronaError(
            f"generate() of peft {version('peft')} ignores the keys and values of {prompt.config['peft_type']} with "
            f"transformers {version('transformers')}. Keep krona's file."
        )
    if adapter.trained:
        raise KronaError(
            f"The adapter also trains {next(iter(adapter.trained))}, but peft's folder of a prompt contains only the "
            "prompt. Keep krona's file, or train with method.train_layer_norms=false."
        )
    task_type = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    config = type(prompt).to_peft_config(model, prompt.config, task_type=task_type, **source)
    with quiet():
        loaded: Any = peft.get_peft_model(copy_for_peft(model), config)
        loaded.prompt_encoder["default"].load_state_dict(prompt.tuner.state_dict())
        loaded.get_base_model().name_or_path = ""  # otherwise peft writes the path of the backbone into the config
        loaded.save_pretrained(folder)
    return PeftFolder(prompt.config["peft_type"], 0, config.to_dict())


def _forms(model: nn.Module, modules: Mapping[str, Adapted], norms: Sequence[str]) -> Iterator[Form]:
    """Yield the ways in which peft may store an adapter: first with the branches' own ``peft_type``, then as LORA."""
    if norms:
        yield Form("LN_TUNING", {"target_modules": shortest(norms, module_names(model))}, {norm: {} for norm in norms})
        return
    for module, adapted in modules.items():
        _require_linear(module, adapted)
    branches: dict[str, list[Any]] = {module: [*adapted.own_branches()] for module, adapted in modules.items()}
    kinds = {type(branch) for group in branches.values() for branch in group}
    peft_type = next(iter(kinds)).peft_type if len(kinds) == 1 else None
    for module, adapted in modules.items():
        if (position := adapted.placement.placement) != "parallel":
            raise KronaError(f"The branch at {module} is {position}, not parallel. {INSTEAD}")
    magnitudes = {module: adapted.dora for module, adapted in modules.items() if adapted.dora is not None}
    converted = {}
    if peft_type is not None and all(len(group) == 1 for group in branches.values()):
        converted = {module: group[0].to_peft() for module, group in branches.items()}
    if peft_type and converted and None not in converted.values() and (not magnitudes or peft_type == "LORA"):
        form = _with_common_config(model, peft_type, modules, converted, magnitudes)
        if form is not None:
            yield form
    if get_adapter(model).merged:
        raise KronaError("The adapter is merged into the weights. Call surgery.unmerge(model) first.")
    for module, adapted in modules.items():
        down, up = low_rank(branches[module], *widths(adapted.base))
        converted[module] = {"r": len(down), "lora_alpha": len(down)}, {"lora_A": down, "lora_B": up}
    form = _with_common_config(model, "LORA", modules, converted, magnitudes)
    assert form is not None, "peft has patterns for both settings of a LORA, r and lora_alpha"
    yield form


def _with_common_config(
    model: nn.Module,
    peft_type: str,
    modules: Mapping[str, Adapted],
    converted: Mapping[str, Any],
    magnitudes: Mapping[str, nn.Module],
) -> Form | None:
    """Return a `Form` whose config contains the most common value of each setting, and patterns for other values.

    The result is None if the modules differ in a setting that has no pattern. ``converted`` contains the settings and
    the tensors of each module.
    """
    config: dict[str, Any] = {"target_modules": shortest(modules, module_names(model))}
    settings = {module: pair[0] for module, pair in converted.items()}
    layers = {module: dict(pair[1]) for module, pair in converted.items()}
    for key in next(iter(settings.values())):
        # peft's configs store whole numbers as integers
        values = {module: int(v) if isinstance(v := module_settings[key], float) and v.is_integer() else v
                  for module, module_settings in settings.items()}  # fmt: skip
        ((common, _),) = Counter(values.values()).most_common(1)
        others = {module: value for module, value in values.items() if value != common}
        # the keys of block_size_pattern are names, and the keys of the other patterns are regular expressions
        if key != "block_size":
            others = {"^" + module.replace(".", r"\."): value for module, value in others.items()}
        if others and key not in PATTERNS:
            return None
        config |= {key: common} | ({PATTERNS[key]: others} if others else {})
    for module, magnitude in magnitudes.items():
        config["use_dora"] = True
        layers[module]["lora_magnitude_vector"] = magnitude.get_parameter("magnitude")
    if any(is_conv1d(adapted.base) for adapted in modules.values()):
        config["fan_in_fan_out"] = True
    return Form(peft_type, config, layers)


def _build(model: nn.Module, form: Form, adapter: InsertedAdapter, saved: Sequence[str]) -> Any | None:
    """Return a copy of the backbone with the adapter in peft's layers, or None if these layers have other tensors."""
    import peft

    config_class: Any = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType[form.peft_type]]
    # peft matches the ends of module names
    modules_to_save = shortest(saved, module_names(model), str.endswith) or None
    try:
        config = config_class(**form.config, modules_to_save=modules_to_save)
        with quiet():
            loaded = peft.get_peft_model(copy_for_peft(model), config)
    except (TypeError, ValueError):  # this peft type has no such setting, or does not support a layer of GPT-2
        return None
    attributes = dict.fromkeys(saved, "modules_to_save")
    for module, tensors in form.layers.items():
        if form.peft_type == "LN_TUNING":
            attributes[module] = "ln_tuning_layers"
        for key, tensor in tensors.items():
            by_adapter: Any = getattr(loaded.get_base_model().get_submodule(module), key)
            if "default" not in by_adapter:
                return None
            parameter = getattr(by_adapter["default"], "weight", by_adapter["default"])
            if parameter.shape != tensor.shape:
                return None
            parameter.data = tensor.detach().clone(memory_format=torch.contiguous_format)
    _copy_modules(model, loaded, adapter, attributes)
    return loaded


def _build_tuner(
    model: nn.Module, modules: Mapping[str, Adapted], adapter: InsertedAdapter, saved: Sequence[str]
) -> tuple[Form, Any]:
    """Return a copy of the backbone with the same tuner layers of peft as the adapter, and its `Form`."""
    import peft

    names, arguments = module_names(model), adapter.branch_config["config"]
    modules_to_save = shortest(saved, names, str.endswith) or None
    config = PeftBranch.to_peft_config(model, list(modules), arguments, modules_to_save=modules_to_save)
    try:
        with quiet():
            loaded = peft.get_peft_model(copy_for_peft(model), config)
    except Exception as error:  # peft raises many different exception types
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise KronaError(f"peft cannot insert {arguments['peft_type']} into this backbone. {reason}") from error
    for module, adapted in modules.items():
        branch: Any = adapted.own_branches()[0]
        branch.copy_into(loaded.get_base_model().get_submodule(module))
    _copy_modules(model, loaded, adapter, dict.fromkeys(saved, "modules_to_save"))
    lists = {key: sorted(value) for key in NAMES if isinstance(value := getattr(config, key, None), set)}
    return Form(arguments["peft_type"], lists, {module: {} for module in modules}), loaded


def _copy_modules(model: nn.Module, loaded: Any, adapter: InsertedAdapter, attributes: Mapping[str, str]) -> None:
    """Copy trained backbone modules into peft's modules, whose attributes contain the trained copies."""
    weights = dict(backbone_parameters(model))
    for module, attribute in attributes.items():
        by_adapter = getattr(loaded.get_base_model().get_submodule(module), attribute)
        for key, parameter in by_adapter["default"].named_parameters():
            full = f"{module}.{key}"
            parameter.data = weights[full if full in weights else unwrapped(full)].detach().clone()


def low_rank(branches: Sequence[Branch], d_in: int, d_out: int) -> tuple[Tensor, Tensor]:
    """Return V (r, d_in) and U (d_out, r), whose product ``U V`` is the sum of the scaled branches without biases.

    U and V concatenate the factors that ``low_rank()`` of each branch returns. If a branch does not provide factors, or
    if r would be larger than d_in or d_out, U or V is the identity. The factors are exact, because no matrix
    decomposition is computed.
    """
    pairs = [branch.low_rank() for branch in branches]
    if all(pair is not None for pair in pairs):
        left = torch.cat([pair[0] for pair in pairs if pair is not None], dim=1)
        right = torch.cat([pair[1] for pair in pairs if pair is not None], dim=0)
        if left.shape[1] <= min(d_in, d_out):
            return left.T, right.T
    first, *others = [branch_matrix(branch, with_bias=False) for branch in branches]
    U, V = with_identity(sum(others, first))
    return V, U


def _require_linear(label: str, adapted: Adapted) -> None:
    branches = adapted.own_branches()
    kinds = " and ".join(sorted({type(branch).__name__ for branch in branches}))
    if adapted.capture is not None or not is_linear(adapted.base):
        block = "a whole block" if adapted.capture is not None else f"a {type(adapted.base).__name__}"
        raise KronaError(f"{kinds} at {label} adapts {block}, not a linear layer. {INSTEAD}")
    for branch in branches:
        if not branch.defines("delta"):
            raise KronaError(f"{kinds} at {label} is not linear in its input. {INSTEAD}")
        if getattr(branch, "bias", None) is not None or getattr(branch, "non_linearity", None) is not None:
            what = "a bias" if getattr(branch, "non_linearity", None) is None else "a non-linearity"
            raise KronaError(f"{kinds} at {label} has {what}. {INSTEAD}")


def unwrapped(key: str) -> str:
    """Return krona's name of a weight of a classifier that `copy_for_peft` wrapped."""
    return key.replace("classifier.0.", "classifier.")


def copy_for_peft(model: nn.Module) -> Any:
    """Return a copy of the model without branches. The copy and the model share the memory of the weights.

    The classifier of a pooled encoder is wrapped, so that peft stores it as ``classifier.0.weight``.
    peft then raises an error if the folder is loaded into a class of transformers, which has another pooling.
    """
    from krona.backbones.families.pooling import has_pooled_head  # imports transformers

    copy = bare_copy(model)
    if has_pooled_head(getattr(copy, "config", None)):
        copy.classifier = nn.Sequential(copy.get_submodule("classifier"))
    return copy
