"""Check in a forward pass that the model calls its branches, and that they have their initial values."""

from typing import Any

import torch
from torch import nn

from krona.messages import KronaError
from krona.surgery.state import adapted_modules, get_adapter
from krona.surgery.wrapper import public_name, unwrap


def skipped_branch(name: str, parent: nn.Module) -> str:
    """Return the message for a branch that is never called."""
    return (
        f"A branch at {public_name(name)} would never run, because {type(parent).__name__} uses the weight of this "
        "layer without calling the layer. Use other target_modules."
    )


def check_first_forward(model: nn.Module) -> None:
    """Register hooks that raise an error in the model's first forward pass if the pass skips a branch.

    Some modules read the weight of a layer without calling the layer. For example, Mamba's mixer reads the weight of
    ``dt_proj``. A branch at such a layer would never run. Skipping a layer whose weight is not read, as in layer
    dropout, is allowed. The hooks do nothing after the check. The hooks are not removed, because torch would then
    compile the model again.
    """
    get_adapter(model).checks = [
        model.register_forward_pre_hook(_begin_check),
        model.register_forward_hook(_end_check),
        model.register_load_state_dict_post_hook(_record_loaded),  # type: ignore[no-untyped-call]
    ]


def _begin_check(model: nn.Module, inputs: object) -> None:
    if torch.compiler.is_compiling():
        return
    adapter = get_adapter(model)
    if model.training and torch.is_grad_enabled() and not adapter.prepared:
        raise KronaError(
            "The initial values of the branches are not computed yet. Call surgery.prepare(model, batches) before "
            "training, or load the values from an adapter file or with load_state_dict."
        )
    if adapter.is_checked:
        return
    for _, adapted in adapted_modules(model):
        adapted.was_called = adapted.weight_was_read = False


def _end_check(model: nn.Module, inputs: object, output: object) -> None:
    if torch.compiler.is_compiling() or (adapter := get_adapter(model)).is_checked:
        return
    for name, adapted in adapted_modules(model):
        if not adapted.merged and adapted.weight_was_read and not adapted.was_called:
            raise KronaError(skipped_branch(name, unwrap(model.get_submodule(name.rpartition(".")[0]))))
    adapter.is_checked = True


def _record_loaded(model: nn.Module, keys: Any) -> None:
    """Record that the branches have initial values if ``load_state_dict`` loaded all of their tensors."""
    if not any(".branches." in key for key in keys.missing_keys):
        get_adapter(model).prepared = True
