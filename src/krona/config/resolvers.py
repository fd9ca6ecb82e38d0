"""Resolvers of conf/'s ``${…}``: ``${project:}``, ``${choices:method}`` and others, registered on import."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from krona.config.choices import choices
from krona.messages import KronaError
from krona.methods import factor_shapes
from krona.paths import INSTALLED, NANO, OUTPUTS, PROJECT, sweeps_folders

WIDTHS = ("d_model", "hidden_size", "n_embd", "dim")  # names of a backbone's width in configs


def _budget_shapes(*, _root_: DictConfig) -> str:
    """Shapes of A with the parameters of rank-1 LoRA on a layer as wide as the backbone; all sides are 2 or more."""
    backbone = _root_.backbone
    sizes = dict(backbone.get("sizes") or {})
    folder = NANO if backbone.name == "nano" else backbone.get("path")
    if folder is not None and (file := Path(folder).expanduser() / "config.json").is_file():
        sizes = json.loads(file.read_text(encoding="utf-8"))
    width = next((int(sizes[name]) for name in WIDTHS if sizes.get(name)), None)
    if width is None:
        raise KronaError(
            "sweeps=factor_shapes needs the backbone's width, from its folder's config.json or as in "
            f"backbone.sizes={{hidden_size:768}} (also {', '.join(name for name in WIDTHS if name != 'hidden_size')})"
        )
    narrow = None
    if groups := sizes.get("num_key_value_heads"):
        narrow = groups * (sizes.get("head_dim") or width // sizes["num_attention_heads"])
    return ",".join(f"[[{a1},{a2}]]" for a1, a2 in factor_shapes.budget_shapes(width, narrow))


def _by_method(default: Any, exceptions: Mapping[str, Any], *, _root_: DictConfig) -> Any:
    return exceptions.get(_root_.method.name, default)


def _program(name: str) -> str:
    """What a help text calls ``train`` and ``bench``."""
    return f"krona {name}" if INSTALLED else f"python {name}.py"


def _completion() -> str:
    """How to install completion, in Hydra's template of a help text: $$ is $."""
    return "krona --install-completion" if INSTALLED else 'eval "$$(python train.py -sc install=bash)"'


def _search_path() -> list[str]:
    """The folders that have a sweeps/, in the order of search. Hydra takes a group from a folder's subfolder."""
    return [f"file://{folder.parent}" for folder in sweeps_folders()]


def _variable(name: str, default: str | None = None) -> str | None:
    """An environment variable's text; an empty one is unset."""
    return os.environ.get(name) or default


def _variable_list(name: str) -> list[str] | None:
    """The entries of an environment variable that are separated by commas; None if there are none."""
    return [entry.strip() for entry in os.environ.get(name, "").split(",") if entry.strip()] or None


OmegaConf.register_new_resolver("project", lambda: str(PROJECT), replace=True)
OmegaConf.register_new_resolver("outputs", lambda: str(OUTPUTS), replace=True)
OmegaConf.register_new_resolver("program", _program, replace=True)
OmegaConf.register_new_resolver("completion", _completion, replace=True)
OmegaConf.register_new_resolver("search_path", _search_path, replace=True)
OmegaConf.register_new_resolver("choices", lambda group: " ".join(choices(group)), replace=True)
OmegaConf.register_new_resolver("budget_shapes", _budget_shapes, replace=True)
OmegaConf.register_new_resolver("by_method", _by_method, replace=True)
OmegaConf.register_new_resolver("variable", _variable, replace=True)
OmegaConf.register_new_resolver("variable_list", _variable_list, replace=True)
