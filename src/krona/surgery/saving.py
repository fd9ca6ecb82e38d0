"""Prepare an adapted model for saving: merge the branches, or raise an error.

The tensors of a model with branches have names that other programs do not know (``q.base.weight``), so a checkpoint of
such a model could not be loaded. ``save_pretrained`` and ``push_to_hub`` therefore raise an error until the branches
are merged or removed.
"""

from typing import Any, NoReturn

from torch import nn

from krona.kernels.t5_modules import restore_modules
from krona.messages import KronaError
from krona.surgery.branch_checks import remove_hooks
from krona.surgery.merging import merge
from krona.surgery.state import adapted_modules, get_state
from krona.surgery.wrapper import Adapted, all_names, replace

SAVERS = ("save_pretrained", "push_to_hub")
RESIZE = "resize_token_embeddings"


def bake(model: nn.Module) -> None:
    """Merge the active adapter permanently. The model then has the original modules and names, and no adapter.

    After this call, ``save_pretrained`` writes a checkpoint that transformers loads without krona.

    Raises:
        KronaError: a branch cannot be merged into a weight, or the model has more than one adapter. The model is then
            unchanged.
    """
    state = get_state(model)
    if len(state.adapters) > 1:
        raise KronaError(
            f"There are {len(state.adapters)} adapters in this model ({', '.join(map(repr, state.adapters))}). Remove "
            "adapters until only one remains."
        )
    if state.merged is None:
        merge(model)
    names = all_names(model)
    for _, adapted in reversed(list(adapted_modules(model))):
        for adapter in list(adapted.branches):
            adapted.drop(adapter)
        replace(model, names[adapted], adapted.base)
    restore(model)
    _record_untied(model)


def _record_untied(model: Any) -> None:
    """Set ``tie_word_embeddings`` to false if the output layer no longer has the weight of the embeddings.

    Otherwise ``tie_weights`` would undo the merge. In some models (BART), the key also ties the embeddings of encoder
    and decoder to each other. For these models the key stays true, because transformers could not load the checkpoint
    with false.
    """
    config: Any = getattr(model, "config", None)
    if not getattr(config, "tie_word_embeddings", False):
        return
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embeddings is None or head.weight is embeddings.weight:
        return
    uses = sum(p is embeddings.weight for _, p in model.named_parameters(remove_duplicate=False))
    always_ties = type(config)(tie_word_embeddings=False).tie_word_embeddings  # T5 ignores the key of a checkpoint
    if uses == 1 or always_ties:
        config.tie_word_embeddings = False


def restore(model: nn.Module) -> None:
    """Undo the other changes of `insert` after the wrappers are removed, and delete the model's adapter state."""
    state = get_state(model)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(state.required_grad.get(parameter_name, parameter.requires_grad))
    restore_modules(model)
    remove_hooks(model)
    model.__dict__.pop("_apply", None)
    allow_methods(model)
    del model.__dict__["krona"]


def allow_methods(model: nn.Module) -> None:
    """Undo `refuse_methods`."""
    for method in (*SAVERS, RESIZE):
        model.__dict__.pop(method, None)


def refuse_methods(model: Any) -> None:
    """Let methods of a model with branches raise an error.

    These are ``save_pretrained`` and ``push_to_hub``, and ``resize_token_embeddings`` if a branch is at the output
    layer.
    """
    allow_methods(model)
    if next(adapted_modules(model), None) is not None:
        model.__dict__.update(dict.fromkeys((saver for saver in SAVERS if hasattr(model, saver)), _refuse))
    if hasattr(model, RESIZE) and isinstance(model.get_output_embeddings(), Adapted):
        model.__dict__[RESIZE] = _refuse_resize


def _refuse_resize(*args: Any, **kwargs: Any) -> NoReturn:
    raise KronaError(
        "The token embeddings cannot be resized, because the output layer has a branch of the old size. Resize them "
        "before the adapter is inserted, or remove the adapter with surgery.take_out(model)."
    )


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise KronaError(
        "A model with branches cannot be saved, because transformers could not load its checkpoint. Merge the branches "
        "with surgery.bake(model), remove them with surgery.take_out(model), or save only the adapter with "
        "krona.Adapter.of(model).save(FILE)."
    )
