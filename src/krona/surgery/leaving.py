"""What a model is when it leaves: baked for good, or refused while branches are in it.

With branches in it a model's tensors have names that no other program knows (``q.base.weight``): saved so, they would
be lost without a word. So ``save_pretrained`` and ``push_to_hub`` raise until the branches are out or baked in.
"""

from typing import Any, NoReturn

from torch import nn

from krona.kernels.t5_modules import restore_modules
from krona.messages import KronaError
from krona.surgery.merging import merge
from krona.surgery.standing_aside import unfollow
from krona.surgery.wrapper import Inserted, adapted_modules, replace, state_of

SAVERS = ("save_pretrained", "push_to_hub")


def bake(model: nn.Module, name: str | None = None) -> None:
    """Merge the active adapter (or that one) for good: plain modules with public names, and no adapter any more.

    ``save_pretrained`` then writes a checkpoint that plain transformers loads. Nothing undoes it.

    Raises:
        KronaError: a branch that no weight can hold, another adapter in the model. The model is untouched then.
    """
    state = state_of(model)
    require_one(state)
    if state.merged is None:
        merge(model, name)
    unwrap(model)


def require_one(state: Inserted) -> None:
    """Raise `KronaError` where more than one adapter is in the model."""
    if len(state.adapters) > 1:
        names = ", ".join(map(repr, state.adapters))
        raise KronaError(
            f"there are {len(state.adapters)} adapters in this model ({names}): take out all but one first"
        )


def unwrap(model: nn.Module) -> None:
    """Plain modules where wrappers are, the branches dropped, and no adapter any more."""
    state = state_of(model)
    for place, adapted in reversed(list(adapted_modules(model))):
        for adapter in list(adapted.branches):
            adapted.drop(adapter)
        replace(model, place, adapted.base)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(state.required_grad.get(parameter_name, parameter.requires_grad))
    restore_modules(model)
    unfollow(model)
    del model.__dict__["krona"]
    allow_saving(model)


def refuse_saving(model: nn.Module) -> None:
    """Let ``save_pretrained`` and ``push_to_hub`` raise while there are branches in the model."""
    if next(adapted_modules(model), None) is not None:
        model.__dict__.update(dict.fromkeys((saver for saver in SAVERS if hasattr(model, saver)), _refuse))


def allow_saving(model: nn.Module) -> None:
    for saver in SAVERS:
        model.__dict__.pop(saver, None)


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise KronaError(
        "this model has an adapter's branches in it, and a checkpoint of it could not be loaded. surgery.bake(model) "
        "merges them for good, surgery.take_out(model) removes them, and "
        "krona.adapters.file.save_adapter(model, FILE) saves the adapter by itself"
    )
