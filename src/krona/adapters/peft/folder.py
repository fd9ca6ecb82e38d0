"""Read the tensors and the config of a peft folder. Settings that krona does not support raise an error."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from krona.adapters.adapter import read_metadata, read_safetensors
from krona.adapters.peft.module_names import BRANCH, CONFIG, PICKLE, PREFIX, WEIGHTS
from krona.messages import KronaError
from krona.safe_files import read_json

COMMON = {
    "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "inference_mode", "modules_to_save",
    "peft_type", "peft_version", "revision", "target_modules", "task_type",
}  # fmt: skip
PLACES = {"layers_pattern", "layers_to_transform"}  # krona finds the modules by the tensors' names instead
# the supported settings by type: krona reads them, or they have no effect after training
READ = {
    "LORA": COMMON | PLACES | {
        "alpha_pattern", "corda_config", "eva_config", "fan_in_fan_out", "init_lora_weights", "loftq_config",
        "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_core", "qalora_group_size", "r", "rank_pattern",
        "runtime_config", "use_dora", "use_rslora",
    },
    "IA3": COMMON | {"fan_in_fan_out", "feedforward_modules", "init_ia3_weights"},
    "LOKR": COMMON | PLACES | {
        "alpha", "alpha_pattern", "decompose_both", "decompose_factor", "init_weights", "module_dropout", "r",
        "rank_dropout", "rank_dropout_scale", "rank_pattern", "use_effective_conv2d",
    },
    "MISS": COMMON | PLACES | {"init_weights", "mini_r", "miss_dropout", "r"},
    "C3A": COMMON | PLACES | {"block_size", "block_size_pattern", "init_weights"},
    "HIRA": COMMON | PLACES | {"fan_in_fan_out", "hira_dropout", "init_weights", "r", "rank_pattern"},
    "VERA": COMMON | PLACES | {
        "d_initial", "fan_in_fan_out", "init_weights", "projection_prng_key", "r", "save_projection", "vera_dropout",
    },
    "LN_TUNING": COMMON,
}  # fmt: skip
SHARED = ("vera_A", "vera_B")
# values of init_lora_weights begin with these words
CHANGES_THE_BACKBONE = ("pissa", "olora", "loftq", "corda", "lora_ga")


@dataclass(frozen=True)
class Folder:
    """The config and the tensors of a peft folder."""

    path: Path
    peft_type: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]  # by name, without peft's prefix
    branch: str | None = None  # the name of krona's class of the branches, if krona wrote the folder
    shared: Mapping[str, Tensor] = field(default_factory=dict)  # VERA's frozen matrices, which all layers share

    def rank(self, place: str) -> int:
        """Return the rank of a module's update. Raises KronaError if the rank is not a whole number of at least 1."""
        rank = self._at(place, "r", "rank_pattern")
        if rank < 1 or not float(rank).is_integer():
            raise KronaError(f"In {self.path}, r={rank} of module {place} is not a whole number of at least 1.")
        return int(rank)

    def scaling(self, place: str, rank: int) -> float:
        """Return the scale of a module's update: alpha / r, or alpha / √r for rsLoRA."""
        alpha = self._at(place, "lora_alpha" if self.peft_type == "LORA" else "alpha", "alpha_pattern")
        return alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def require_one(self, what: str, values: set[int]) -> int:
        """Return the only value of a set. Raises KronaError, with the name ``what``, if there are several."""
        if len(values) > 1:
            raise KronaError(
                f"The {self.peft_type} adapter in {self.path} has several {what} ({sorted(values)}). krona supports "
                "only one."
            )
        return next(iter(values))

    def _at(self, place: str, key: str, pattern: str) -> float:
        found = self.config.get(key, 8)
        for expression, value in (self.config.get(pattern) or {}).items():
            if re.match(rf"(.*\.)?({expression})$", place):
                found = value
                break
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise KronaError(f"In {self.path}, {key}={found!r} of module {place} is not a finite number.")
        return found


def open_folder(path: Path) -> Folder:
    """Read a peft folder. Raises KronaError if krona does not support a setting."""
    config = _read_config(path / CONFIG)
    _check_settings(path, config)
    if not (path / WEIGHTS).exists() and (path / PICKLE).exists():
        raise KronaError(
            f"{path / PICKLE} is a pickle file, which could run code. krona never loads pickle files. Save the weights "
            f"as {WEIGHTS}."
        )
    branch = read_safetensors(path / WEIGHTS, read_metadata).get(BRANCH)
    tensors = read_safetensors(path / WEIGHTS, load_file)
    shared = {key: tensors.pop(f"base_model.{key}") for key in SHARED if f"base_model.{key}" in tensors}
    if foreign := next((key for key in tensors if not key.startswith(PREFIX)), None):
        raise KronaError(
            f"{path / WEIGHTS} was not written by peft. The name of its tensor {foreign} does not begin with "
            f"{PREFIX!r}."
        )
    named = {key.removeprefix(PREFIX): p for key, p in tensors.items()}
    return Folder(path, config["peft_type"], config, named, branch, shared)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = read_json(path)
    except FileNotFoundError as error:
        raise KronaError(f"{path} was not found, so its folder is not a peft folder.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise KronaError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise KronaError(f"{path} is not a JSON object.")
    kinds = {"modules_to_save": list, "rank_pattern": dict, "alpha_pattern": dict}
    for key, kind in kinds.items():
        if config.get(key) is not None and not isinstance(config[key], kind):
            raise KronaError(f"In {path}, {key} is not a {kind.__name__}.")
    if not all(isinstance(word, str) for word in config.get("modules_to_save") or []):
        raise KronaError(f"In {path}, modules_to_save={config['modules_to_save']!r} is not a list of names.")
    return config


def _check_settings(path: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind not in READ:
        raise KronaError(f"In {path}, peft_type={kind!r} is not supported. krona supports {', '.join(READ)}.")
    if config.get("bias", "none") != "none":
        raise KronaError(f"In {path}, bias={config['bias']!r} is not supported. krona supports only bias='none'.")
    start = str(config.get("init_lora_weights", True)).lower()
    if start.startswith(CHANGES_THE_BACKBONE):
        raise KronaError(
            f"In {path}, init_lora_weights={start!r} is not supported, because peft then changes the backbone's own "
            "weights and does not save them. Save the adapter in peft with path_initial_model_for_weight_conversion."
        )
    if kind == "MISS" and config.get("init_weights") in ("bat", "mini"):
        raise KronaError(
            f"In {path}, init_weights={config['init_weights']!r} is not supported. krona supports only the default "
            "form of MiSS."
        )
    if unknown := sorted(key for key, value in config.items() if value and key not in READ[kind]):
        settings = ", ".join(f"{key}={config[key]!r}" for key in unknown)
        raise KronaError(f"In {path}, these settings of {kind} are not supported: {settings}.")
