"""Register on import the OmegaConf resolvers that conf/ uses, such as ``${project:}`` and ``${choices:method}``."""

import os
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from krona.config.choices import choices
from krona.config.default_learning_rate import choose_rate
from krona.config.model_folder import WIDTHS, read_model_config
from krona.messages import KronaError
from krona.methods import factor_shapes
from krona.paths import INSTALLED, OUTPUTS, PROJECT, sweeps_folders

WARMUP_SHARE = 0.06  # share of all steps, as in RoBERTa's fine-tuning (Liu et al. 2019)


def _budget_shapes(*, _root_: DictConfig) -> str:
    """Return the shapes of A, separated by commas, with which KronA has as many parameters as LoRA of rank 1."""
    sizes = read_model_config(_root_.backbone)
    width = next((int(sizes[name]) for name in WIDTHS if sizes.get(name)), None)
    if width is None:
        raise KronaError(
            "sweeps=factor_shapes needs the width of the backbone. Set backbone.path to a folder with config.json, or "
            f"add sizes to the YAML of the backbone, such as sizes: {{hidden_size: 768}} ({', '.join(WIDTHS)})"
        )
    narrow = None
    if groups := sizes.get("num_key_value_heads"):
        narrow = groups * (sizes.get("head_dim") or width // sizes["num_attention_heads"])
    return ",".join(f"[[{a1},{a2}]]" for a1, a2 in factor_shapes.budget_shapes(width, narrow))


def _choose_warmup(steps: int, epochs: int, batch_size: int, *, _root_: DictConfig) -> int | float:
    """Return the default of ``optimizer.warmup_steps``: ``steps`` in the paper's setting, otherwise `WARMUP_SHARE`.

    In the paper's setting, a run trains on all rows of a GLUE task or sample task for ``epochs`` epochs with
    ``batch_size``, and its backbone has no ``learning_rates``.
    """
    task, data, trainer = _root_.task, _root_.data, _root_.trainer
    is_full = data.get("train_rows") is None and trainer.limit_train_batches == 1.0 and trainer.max_steps == -1
    length = (trainer.max_epochs, _root_.get("batch_size"), trainer.accumulate_grad_batches)
    of_paper = _root_.backbone.get("learning_rates") is None and task.get("files") is None
    return steps if is_full and of_paper and length == (epochs, batch_size, 1) else WARMUP_SHARE


def _wandb_mode() -> str:
    is_disabled = os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on")  # transformers' rule
    return "disabled" if is_disabled else os.environ.get("WANDB_MODE") or "auto"


RESOLVERS: dict[str, Callable[..., Any]] = {
    "project": lambda: str(PROJECT),
    "outputs": lambda: str(OUTPUTS),
    # for Hydra's help template, in which $$ stands for $
    "completion": lambda: "krona --install-completion" if INSTALLED else 'eval "$$(python train.py -sc install=bash)"',
    # Hydra's search path needs the folder that contains the config group ``sweeps``
    "search_path": lambda: [f"file://{folder.parent}" for folder in sweeps_folders()],
    "choices": lambda group: " ".join(choices(group)),
    "budget_shapes": _budget_shapes,
    "learning_rate": choose_rate,
    "warmup": _choose_warmup,
    "variable": lambda name, default=None: os.environ.get(name) or default,  # an empty variable is treated as unset
    "variable_list": lambda name: (
        [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()] or None
    ),
    "wandb_mode": _wandb_mode,
}
for _name, _resolver in RESOLVERS.items():
    OmegaConf.register_new_resolver(_name, _resolver, replace=True)
