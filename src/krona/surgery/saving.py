"""Prepare an adapted model for saving: merge the branches, or raise an error.

The tensors of a model with branches have names that other programs do not know (``q.base.weight``), so a checkpoint of
such a model could not be loaded. ``save_pretrained`` and ``push_to_hub`` therefore raise an error until the branches
are merged or removed.
"""

from typing import Any, NoReturn

from torch import nn

from krona.kernels.t5_modules import restore_modules
from krona.messages import KronaError
from krona.surgery.layers import dequantised_layer, is_quantised
from krona.surgery.merging import merge
from krona.surgery.state import branch_modules, get_adapter
from krona.surgery.wrapper import Adapted, all_names, replace

SAVERS = ("save_pretrained", "push_to_hub")


def bake(model: nn.Module) -> None:
    """Merge the adapter permanently. The model then has the original modules and names, and no adapter.

    After this call, ``save_pretrained`` writes a checkpoint that transformers loads without krona.

    Raises:
        KronaError: a branch cannot be merged into a weight. The model is then unchanged.
    """
    if not get_adapter(model).merged:
        merge(model)
    remove_branches(model)
    restore(model)
    _dequantise(model)
    _record_untied(model)


def remove_branches(model: nn.Module) -> None:
    """Remove the branches, their wrappers and their hooks."""
    names = all_names(model)
    for _, holder in reversed(list(branch_modules(model))):  # unwrap inner modules before outer modules
        if isinstance(holder, Adapted):
            replace(model, names[holder], holder.base)
            hooks = [holder.capture.handle] if holder.capture else []
        else:
            hooks = [*holder.hooks]
            del model.prompts
        for hook in hooks:
            hook.remove()


def _dequantise(model: Any) -> None:
    """Replace the 4-bit layers with linear layers, so that all layers have the same format in a checkpoint."""
    names = all_names(model)
    layers = [module for module in names if is_quantised(module)]
    for layer in layers:
        replace(model, names[layer], dequantised_layer(layer))
    if layers:
        model.config.__dict__.pop("quantization_config", None)
        model.hf_quantizer, model.is_quantized, model.is_loaded_in_4bit = None, False, False
        model.__dict__.pop("quantization_method", None)


def _record_untied(model: Any) -> None:
    """Set ``tie_word_embeddings`` to false if a merge has untied the output layer from the embeddings.

    Otherwise ``tie_weights`` would undo the merge. In some models (BART), ``tie_word_embeddings`` also ties the
    embeddings of encoder and decoder to each other. For these models, the key stays true, because transformers could
    not load the checkpoint if the key were false.
    """
    config: Any = getattr(model, "config", None)
    if not getattr(config, "tie_word_embeddings", False):
        return
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embeddings is None or head.weight is embeddings.weight:
        return
    uses = sum(p is embeddings.weight for _, p in model.named_parameters(remove_duplicate=False))
    always_ties = type(config)(tie_word_embeddings=False).tie_word_embeddings  # T5's config ignores the given value
    if uses == 1 or always_ties:
        config.tie_word_embeddings = False


def restore(model: nn.Module) -> None:
    """After the wrappers are removed, undo the other changes of `insert`."""
    adapter = get_adapter(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(adapter.required_grad.get(name, parameter.requires_grad))
    restore_modules(model)
    for handle in adapter.hooks:
        handle.remove()
    for name in (*SAVERS, "krona"):
        model.__dict__.pop(name, None)


def refuse_saving(model: nn.Module) -> None:
    """Make ``save_pretrained`` and ``push_to_hub`` raise an error while the model contains branches."""
    has_branches = next(branch_modules(model), None) is not None
    for name in SAVERS:
        model.__dict__.pop(name, None)
        if has_branches and hasattr(model, name):
            model.__dict__[name] = _refuse


def _refuse(*args: object, **kwargs: object) -> NoReturn:
    raise KronaError(
        "A model with branches cannot be saved, because transformers could not load its checkpoint. Merge the branches "
        "with surgery.bake(model), remove them with surgery.take_out(model), or save only the adapter with "
        "krona.Adapter.of(model).save(FILE)."
    )
