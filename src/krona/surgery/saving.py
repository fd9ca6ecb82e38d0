"""Prepare an adapted model for saving: merge the branches, or raise an error.

The tensors of a model with branches have names that other programs do not know (``q.base.weight``), so a checkpoint of
such a model could not be loaded. ``save_pretrained`` and ``push_to_hub`` therefore raise an error until the branches
are merged or removed.
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
    """Merge the active adapter permanently. The model then has the original modules and names, and no adapter.

    After this call, ``save_pretrained`` writes a checkpoint that transformers loads without krona.

    Args:
        name: the name of the adapter, which must be active. None means the active adapter.

    Raises:
        KronaError: a branch cannot be merged into a weight, or the model has more than one adapter. The model is then
            unchanged.
    """
    state = get_state(model)
    if len(state.adapters) > 1:
        names = ", ".join(map(repr, state.adapters))
        raise KronaError(
            f"There are {len(state.adapters)} adapters in this model ({names}). Remove adapters until only one remains."
        )
    if state.merged is None:
        merge(model, name)
    for place, adapted in reversed(list(adapted_modules(model))):
        for adapter in list(adapted.branches):
            adapted.drop(adapter)
        replace(model, place, adapted.base)
    restore(model)


def restore(model: nn.Module) -> None:
    """Undo the other changes of `insert` after the wrappers are removed, and delete the model's adapter state."""
    state = get_state(model)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(state.required_grad.get(parameter_name, parameter.requires_grad))
    restore_modules(model)
    unfollow(model)
    for saver in SAVERS:
        model.__dict__.pop(saver, None)
    del model.__dict__["krona"]


def refuse_saving(model: nn.Module) -> None:
    """Let ``save_pretrained`` and ``push_to_hub`` raise an error if the model contains branches."""
    if next(adapted_modules(model), None) is not None:
        model.__dict__.update(dict.fromkeys((saver for saver in SAVERS if hasattr(model, saver)), _refuse))


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise KronaError(
        "A model with branches cannot be saved, because transformers could not load its checkpoint. Merge the branches "
        "with surgery.bake(model), remove them with surgery.take_out(model), or save only the adapter with "
        "krona.Adapter.of(model).save(FILE)."
    )
