"""Load a peft folder into a copy of its backbone. Unsafe folders and unknown settings raise an error."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from krona.adapters.adapter import class_path, open_safetensors
from krona.backbones.peft_branch import PeftBranch, bare_copy
from krona.backbones.peft_config import PROMPT_TYPES, quiet, require_peft, tuner_types
from krona.config.choices import branch_targets
from krona.config.target_classes import PEFT_CLASSES, find_named
from krona.messages import KronaError, shorten
from krona.safe_files import read_json
from krona.surgery.state import backbone_parameters

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = ".base_layer."
POOLED_HEAD = "classifier.0."  # the wrapped classifier of a pooled encoder in a peft folder
TUNER = class_path(PeftBranch)
# the keys of adapter_config.json that krona reads, or that have no effect after training
KNOWN = {
    "alpha", "alpha_pattern", "auto_mapping", "base_model_name_or_path", "block_size", "block_size_pattern",
    "corda_config", "d_initial", "decompose_both", "decompose_factor", "eva_config", "exclude_modules",
    "fan_in_fan_out", "feedforward_modules", "hira_dropout", "inference_mode", "init_ia3_weights",
    "init_lora_weights", "init_weights", "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha",
    "lora_dropout", "lora_ga_config", "megatron_core", "mini_r", "miss_dropout", "module_dropout", "modules_to_save",
    "peft_type", "peft_version", "projection_prng_key", "qalora_group_size", "r", "rank_dropout", "rank_dropout_scale",
    "rank_pattern", "revision", "runtime_config", "save_projection", "target_modules", "task_type",
    "use_dora", "use_effective_conv2d", "use_rslora", "vera_dropout",
}  # fmt: skip
CHANGES_THE_BACKBONE = ("pissa", "olora", "loftq", "corda", "lora_ga")  # first words of init_lora_weights
OTHER_MISS = ("bat", "mini")  # values of init_weights


def keeps_tuner(peft_type: object, branch: str | None) -> bool:
    """Return whether an adapter of this type becomes a `PeftBranch`, because krona has no own class for the type.

    ``branch`` is the dotted path of the preferred class.
    """
    return branch == TUNER or not (peft_type == "LN_TUNING" or branch_classes(str(peft_type)))


def check_folder(path: Path, branch: str | None = None) -> dict[str, Any]:
    """Check a peft folder, and return its config.

    Raises:
        KronaError: peft is not installed, the folder is not complete or its weights are a pickle file, or a setting is
            not supported.
    """
    require_peft()
    try:
        config = read_json(path / CONFIG)
        if not isinstance(config, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError) as error:
        raise KronaError(f"{path / CONFIG} cannot be read as JSON: {error}") from error
    if not (path / WEIGHTS).is_file():
        raise KronaError(
            f"{path / WEIGHTS} was not found. krona never loads a pickle file such as adapter_model.bin, because it "
            "could run code."
        )
    keep_tuner = keeps_tuner(config.get("peft_type"), branch)
    if keep_tuner and config.get("peft_type") not in (known := (*tuner_types(), *PROMPT_TYPES)):
        raise KronaError(
            f"In {path}, peft_type={config.get('peft_type')!r} is not supported. krona supports {', '.join(known)}."
        )
    start = str(config.get("init_lora_weights", True)).lower()
    if start.startswith(CHANGES_THE_BACKBONE):
        raise KronaError(
            f"In {path}, init_lora_weights={start!r} is not supported, because peft then changes the backbone's own "
            "weights and does not save them. Save the adapter in peft with path_initial_model_for_weight_conversion."
        )
    unsupported = {key for key, value in config.items() if value and key not in KNOWN}
    if config.get("bias") == "none":
        unsupported.discard("bias")
    if config.get("init_weights") in OTHER_MISS:
        unsupported.add("init_weights")
    if unsupported and not keep_tuner:
        settings = ", ".join(f"{key}={config[key]!r}" for key in sorted(unsupported))
        raise KronaError(f"In {path}, these settings are not supported: {settings}.")
    return config


def branch_classes(peft_type: str) -> list[Any]:
    """Return the branch classes of all methods with this ``peft_type``."""
    # The classes for all types of peft have no ``peft_type``, and importing them takes a second.
    targets = [target for target in branch_targets() if target not in PEFT_CLASSES]
    classes = dict.fromkeys(find_named(target, "method._target_", "branch") for target in targets)
    return [cls for cls in classes if cls.peft_type == peft_type]


def load_folder(model: nn.Module, path: Path, branch: str | None = None) -> Any:
    """Load a peft folder with peft into a copy of the backbone. The copy uses the same memory for the weights.

    Raises:
        KronaError: `check_folder` or peft raises an error, the folder contains a backbone weight that differs from the
            model's weight, or the folder's tensors do not match the folder's config.
    """
    check_folder(path, branch)
    weights = dict(backbone_parameters(model, tied=True))
    with open_safetensors(path / WEIGHTS) as file:
        keys = list(file.keys())
        base_weights = {key: file.get_tensor(key) for key in keys if BASE in key}
    for key, tensor in base_weights.items():  # peft also saves the weight of an adapted output layer
        weight = weights.get(key.replace(BASE, ".").removeprefix("base_model.model."))
        if weight is None or not torch.equal(weight.detach().cpu().to(tensor.dtype), tensor):
            raise KronaError(f"{path} contains {key}, which differs from this backbone's weight.")
    import peft

    try:
        with quiet():
            copy = copy_for_peft(model, wrap_head=any(POOLED_HEAD in key for key in keys))
            loaded = peft.PeftModel.from_pretrained(copy, str(path), low_cpu_mem_usage=True).eval()
            expected = set(peft.get_peft_model_state_dict(loaded, save_embedding_layers=False))
    except Exception as error:  # peft raises many different exception types
        reason = f"{type(error).__name__}: {shorten(error, 300)}"
        raise KronaError(f"peft {version('peft')} cannot load {path} for this backbone: {reason}") from error
    if different := sorted((set(keys) - base_weights.keys()) ^ expected):
        raise KronaError(
            f"The tensors in {path / WEIGHTS} do not match the folder's config for this backbone. "
            f"{len(different)} names differ (first {different[0]})."
        )
    return loaded


def unwrapped(key: str) -> str:
    """Return krona's name of a weight of a classifier that `copy_for_peft` wrapped."""
    return key.replace(POOLED_HEAD, "classifier.")


def copy_for_peft(model: nn.Module, *, wrap_head: bool) -> Any:
    """Return a copy of the model without branches. The copy and the model share the memory of the weights.

    With ``wrap_head``, the classifier of a pooled encoder is wrapped, and peft stores it as ``classifier.0.weight``.
    peft then raises an error if the folder is loaded into a class of transformers, which has another pooling.
    """
    from krona.backbones.families.pooling import has_pooled_head  # imports transformers

    copy = bare_copy(model)
    if wrap_head and has_pooled_head(getattr(copy, "config", None)):
        copy.classifier = nn.Sequential(copy.get_submodule("classifier"))
    return copy
