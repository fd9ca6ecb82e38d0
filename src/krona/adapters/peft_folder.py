"""Write an adapter as a folder that ``PeftModel.from_pretrained(base, folder)`` loads."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from krona.backbones.peft_branch import PeftBranch, bare_copy, module_names, quiet, require_peft, shortest
from krona.kernels.kronecker_product import with_identity
from krona.messages import KronaError, first_line
from krona.surgery.layers import Adapted, is_conv1d, is_linear, is_quantised, public_name
from krona.surgery.merging import branch_matrix
from krona.surgery.state import (
    InsertedAdapter,
    adapted_modules,
    backbone_parameters,
    get_adapter,
    norm_modules,
    prompt_length,
)
from krona.surgery.target_modules import widths

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

INSTEAD = "peft cannot represent such an adapter. Merge the branches, or keep krona's file."
Layers = Mapping[str, Mapping[str, Tensor]]  # maps the names of modules, and of tensors in peft's layer, to tensors


@torch.no_grad()
def write_peft(
    model: nn.Module,
    folder: str | Path,
    *,
    base_model: str | None,
    revision: str | None = None,
    task_type: str | None = None,
) -> dict[str, Any]:
    """Write the adapter of a model as a peft folder, and return its config. peft itself builds and saves the adapter.

    An adapter is written as the ``peft_type`` of its class if peft's layers have the same tensors. Any other linear
    update is written as a LORA with exactly the same update. An adapter that trains only LayerNorms is written as
    LN_TUNING. Trained LayerNorms of other adapters, and a head, are written as ``modules_to_save``.

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
    source = {"base_model_name_or_path": base_model, "revision": revision}
    if prompt_length(model):
        return _write_prompt(model, adapter, folder, source)
    modules = {public_name(path): adapted for path, adapted in adapted_modules(model)}
    head = adapter.options.get("head", ())
    owners = [key.rpartition(".")[0] for key in adapter.trained]
    saved = list(
        dict.fromkeys(next((part for part in head if f"{owner}.".startswith(f"{part}.")), owner) for owner in owners)
    )
    norms = [] if modules else [module for module in norm_modules(model) if module in saved]
    if not modules and not norms:
        raise KronaError("The adapter trains nothing that peft could load.")
    saved = [module for module in saved if module not in norms]
    if adapter.branch is PeftBranch:
        config = PeftBranch.to_peft_config(
            model, list(modules), adapter.branch_config["config"], modules_to_save=_names_to_save(model, saved)
        )
        loaded = _get_peft_model(model, config)
        for module, adapted in modules.items():
            branch = adapted.own_branches()[0]
            assert isinstance(branch, PeftBranch)
            branch.copy_into(loaded.get_base_model().get_submodule(module))
    elif norms:
        loaded = _build(model, "LN_TUNING", {}, {norm: {} for norm in norms}, saved)
    else:
        loaded = _build_own_type(model, modules, saved) or _build_lora(model, modules, saved)
    _copy_modules(model, loaded, dict.fromkeys(saved, "modules_to_save") | dict.fromkeys(norms, "ln_tuning_layers"))
    return _save(loaded, folder, **source, task_type=task_type)


def _write_prompt(
    model: nn.Module, adapter: InsertedAdapter, folder: str | Path, source: Mapping[str, str | None]
) -> dict[str, Any]:
    """Write the prompt. peft stores the prompt itself, without the network that computed it in training."""
    from transformers import PreTrainedModel

    from krona.backbones.prompts import IN_CACHE, PromptBranch

    assert isinstance(model, PreTrainedModel)
    if not model.can_generate():
        raise KronaError(
            "The classifier of peft's model reads the state of the prompt's first position, but krona's reads the "
            "state of the text's first token. Keep krona's file."
        )
    prompt = model.get_submodule("prompts.branches")
    assert isinstance(prompt, PromptBranch)
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
    config = PromptBranch.to_peft_config(
        model, prompt.config, task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    )
    loaded = _get_peft_model(model, config)
    loaded.prompt_encoder["default"].load_state_dict(prompt.tuner.state_dict())
    return _save(loaded, folder, **source)


def _save(loaded: Any, folder: str | Path, **source: str | None) -> dict[str, Any]:
    config = loaded.peft_config["default"]
    for key, value in source.items():
        setattr(config, key, value)
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(names := getattr(config, key, None), set):  # the order of peft's sets is random
            setattr(config, key, sorted(names))
    loaded.get_base_model().name_or_path = ""  # otherwise peft writes the path of the backbone into the config
    with quiet():
        loaded.save_pretrained(str(folder), save_embedding_layers=False)
    content: dict[str, Any] = config.to_dict()
    return content


def _build_own_type(model: nn.Module, modules: Mapping[str, Adapted], saved: Sequence[str]) -> Any | None:
    """Return a copy of the backbone with peft's layers of the branches' own ``peft_type``, or None.

    The result is None if peft has no such layers, or if the modules have different settings.
    """
    for module, adapted in modules.items():
        _require_linear(module, adapted)
    branches = {module: adapted.own_branches() for module, adapted in modules.items()}
    kinds = {branch.peft_type for group in branches.values() for branch in group}
    if len(kinds) > 1 or None in kinds or any(len(group) > 1 for group in branches.values()):
        return None
    peft_type = str(kinds.pop())
    converted = {module: branch.to_peft() for module, (branch,) in branches.items()}
    (settings, _), *others = [pair or ({}, {}) for pair in converted.values()]
    if not settings or any(other != settings for other, _ in others):
        return None
    if peft_type != "LORA" and any(at.dora is not None or is_conv1d(at.base) for at in modules.values()):
        return None  # only peft's LORA supports magnitudes and the layers of GPT-2
    # peft's configs store whole numbers as integers
    whole = {key: int(value) for key, value in settings.items() if isinstance(value, float) and value.is_integer()}
    layers = {module: pair[1] for module, pair in converted.items() if pair is not None}
    return _build(model, peft_type, {**settings, **whole}, layers, saved)


def _build_lora(model: nn.Module, modules: Mapping[str, Adapted], saved: Sequence[str]) -> Any:
    """Return a copy of the backbone with peft's LORA layers, whose product is the sum of a module's branches.

    The factors concatenate those that ``low_rank()`` of each branch returns. If a branch does not provide factors, or
    if their rank would be larger than a width of the layer, one of the factors is the identity. The factors are exact,
    because no matrix decomposition is computed.
    """
    layers = {}
    for module, adapted in modules.items():
        branches = adapted.own_branches()
        pairs = [pair for pair in (branch.low_rank() for branch in branches) if pair is not None]
        if len(pairs) == len(branches) and sum(left.shape[1] for left, _ in pairs) <= min(widths(adapted.base)):
            down = torch.cat([left for left, _ in pairs], dim=1).T
            up = torch.cat([right for _, right in pairs], dim=0).T
        else:
            first, *more = [branch_matrix(branch) for branch in branches]
            up, down = with_identity(sum(more, first))
        layers[module] = {"lora_A": down, "lora_B": up}
    ranks = {module: len(tensors["lora_A"]) for module, tensors in layers.items()}
    rank = max(ranks.values())
    others = {"^" + module.replace(".", r"\."): other for module, other in ranks.items() if other != rank}
    settings = {"r": rank, "lora_alpha": rank, "rank_pattern": others, "alpha_pattern": others}
    return _build(model, "LORA", settings, layers, saved)


def _build(model: nn.Module, peft_type: str, settings: Mapping[str, Any], layers: Layers, saved: Sequence[str]) -> Any:
    """Return a copy of the backbone with these tensors in peft's layers."""
    import peft

    arguments = {"peft_type": peft_type, **settings, "target_modules": shortest(layers, module_names(model))}
    modules = {public_name(path): adapted for path, adapted in adapted_modules(model)}
    if any(is_conv1d(adapted.base) for adapted in modules.values()):
        arguments["fan_in_fan_out"] = True
    if any(adapted.dora is not None for adapted in modules.values()):
        arguments["use_dora"] = True
    config = peft.get_peft_config({**arguments, "modules_to_save": _names_to_save(model, saved)})
    loaded = _get_peft_model(model, config)
    for module, tensors in layers.items():
        dora = modules[module].dora if module in modules else None
        magnitude = {} if dora is None else {"lora_magnitude_vector": dora.magnitude}
        for key, tensor in {**tensors, **magnitude}.items():
            own = getattr(loaded.get_base_model().get_submodule(module), key)["default"]
            getattr(own, "weight", own).data = tensor.detach().clone(memory_format=torch.contiguous_format)
    return loaded


def _names_to_save(model: nn.Module, saved: Sequence[str]) -> list[str] | None:
    return shortest(saved, module_names(model), str.endswith) or None  # peft matches the ends of module names


def _get_peft_model(model: nn.Module, config: "PeftConfig") -> Any:
    """Return a copy of the backbone with layers of peft.

    Raises:
        KronaError: peft cannot insert its layers.
    """
    import peft

    try:
        with quiet():
            return peft.get_peft_model(copy_for_peft(model), config)
    except Exception as error:  # peft raises many different exception types
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise KronaError(f"peft cannot insert this adapter into this backbone. {reason}") from error


def _copy_modules(model: nn.Module, loaded: "PeftModel", attributes: Mapping[str, str]) -> None:
    """Copy trained backbone modules into peft's modules, whose attributes contain the trained copies."""
    weights = dict(backbone_parameters(model))
    for module, attribute in attributes.items():
        by_adapter = getattr(loaded.get_base_model().get_submodule(module), attribute)
        for key, parameter in by_adapter["default"].named_parameters():
            full = f"{module}.{key}"
            if full not in weights:  # a classifier that `copy_for_peft` wrapped
                full = full.replace("classifier.0.", "classifier.")
            parameter.data = weights[full].detach().clone()


def _require_linear(label: str, adapted: Adapted) -> None:
    branches = adapted.own_branches()
    kinds = " and ".join(sorted({type(branch).__name__ for branch in branches}))
    if adapted.capture is not None or not is_linear(adapted.base):
        block = "a whole block" if adapted.capture is not None else f"a {type(adapted.base).__name__}"
        raise KronaError(f"{kinds} at {label} adapts {block}, not a linear layer. {INSTEAD}")
    if adapted.placement.placement != "parallel":
        raise KronaError(f"{kinds} at {label} is {adapted.placement.placement}, not parallel. {INSTEAD}")
    for branch in branches:
        if not branch.defines("delta"):
            raise KronaError(f"{kinds} at {label} is not linear in its input. {INSTEAD}")
        if getattr(branch, "bias", None) is not None or getattr(branch, "non_linearity", None) is not None:
            what = "a bias" if getattr(branch, "non_linearity", None) is None else "a non-linearity"
            raise KronaError(f"{kinds} at {label} has {what}. {INSTEAD}")


def copy_for_peft(model: nn.Module) -> nn.Module:
    """Return a copy of the model without branches. The copy and the model share the memory of the weights.

    The classifier of a pooled encoder is wrapped, so that peft stores it as ``classifier.0.weight``.
    peft then raises an error if the folder is loaded into a class of transformers, which has another pooling.
    """
    from krona.backbones.families.architecture import has_pooled_head  # imports transformers

    copy = bare_copy(model)
    if has_pooled_head(getattr(copy, "config", None)):
        copy.classifier = nn.Sequential(copy.get_submodule("classifier"))
    return copy
