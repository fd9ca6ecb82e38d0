"""Prepare an adapted model for saving: merge the branches, or raise an error.

The tensors of a model with branches have names that no other program knows (``q.base.weight``), and a checkpoint of it
could not be loaded. So ``save_pretrained`` and ``push_to_hub`` raise an error until the branches are merged or removed.
"""

from typing import Any, NoReturn

from torch import nn

from krona.kernels.t5_modules import restore_modules
from krona.messages import KronaError
from krona.surgery.merging import merge
from krona.surgery.parameter_swapping import unfollow
from krona.surgery.state import adapted_modules, get_state
from krona.surgery.wrapper import replace

SAVERS = ("save_pretrained", "push_to_hub")


def bake(model: nn.Module, name: str | None = None) -> None:
    """Merge the active adapter permanently: plain modules with their public names, and no adapter.

    ``save_pretrained`` then writes a checkpoint that plain transformers loads.

    Args:
        name: the active adapter's name, or None.

    Raises:
        KronaError: no weight can hold a branch, or there is another adapter. The model is unchanged then.
    """
    state = get_state(model)
    if len(state.adapters) > 1:
        names = ", ".join(map(repr, state.adapters))
        raise KronaError(f"There are {len(state.adapters)} adapters in this model ({names}). Remove all but one first.")
    if state.merged is None:
        merge(model, name)
    for place, adapted in reversed(list(adapted_modules(model))):
        for adapter in list(adapted.branches):
            adapted.drop(adapter)
        replace(model, place, adapted.base)
    restore(model)


def restore(model: nn.Module) -> None:
    """Undo all other changes of insertions, once the wrappers are removed, and forget the adapters."""
    state = get_state(model)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(state.required_grad.get(parameter_name, parameter.requires_grad))
    restore_modules(model)
    unfollow(model)
    for saver in SAVERS:
        model.__dict__.pop(saver, None)
    del model.__dict__["krona"]


def refuse_saving(model: nn.Module) -> None:
    """Let ``save_pretrained`` and ``push_to_hub`` raise an error while branches are in the model."""
    if next(adapted_modules(model), None) is not None:
        model.__dict__.update(dict.fromkeys((saver for saver in SAVERS if hasattr(model, saver)), _refuse))


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise KronaError(
        "A checkpoint with an adapter's branches could not be loaded. surgery.bake(model) merges the branches "
        "permanently, surgery.take_out(model) removes them, and krona.Adapter.of(model).save(FILE) saves the adapter."
    )
