"""Merge an adapter with a linear update into the backbone's weights (Eq. 4 of the KronA paper), and undo the merge.

A merged weight is a new tensor. ``unmerge`` restores the original tensor object. Calls such as ``eval()`` do
not merge. Trained LayerNorms do not need merging, because their trained weights are already in the model. ``bake``
merges permanently, so that the model can be saved.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.surgery.layers import (
    Adapted,
    all_names,
    dequantised_layer,
    is_conv1d,
    is_linear,
    is_quantised,
    public_name,
    replace,
    weight_matrix,
)
from krona.surgery.state import adapted_modules, get_adapter, prompt_length, put_back, remove_branches


def merge(model: nn.Module) -> None:
    """Merge the adapter into the weights, so that the model is as fast as its backbone.

    The merged weight is computed in fp32 (in fp64 for an fp64 model) and then cast to the dtype of the original weight.
    A 4-bit layer is replaced by a linear layer in the dtype that its weight had before quantisation. Quantising the
    merged weight again would remove most of the update.

    Raises:
        KronaError: the model has no adapter, a branch cannot be merged into a weight, or the adapter is merged already.
            The model is then unchanged.
    """
    adapter = get_adapter(model)
    if adapter.merged:
        raise KronaError("The adapter is merged already. Call surgery.unmerge(model) first.")
    if prompt_length(model):
        raise KronaError(
            "The adapter cannot be merged, because no single weight can hold a prompt. Use the adapter unmerged."
        )
    modules = [*adapted_modules(model)]
    merged = [_merged_weights(public_name(name), adapted) for name, adapted in modules]
    for (_, adapted), weights in zip(modules, merged, strict=True):
        adapted.merged = True
        if is_quantised(adapted.base):
            adapter.layers_before_merge[adapted] = adapted.base
            adapted.base = dequantised_layer(adapted.base, weights["weight"])
            continue
        for attribute, weight in weights.items():
            original: nn.Parameter = getattr(adapted.base, attribute)
            adapter.weights_before_merge[adapted.base, attribute] = original
            setattr(adapted.base, attribute, nn.Parameter(weight, requires_grad=False))
    adapter.merged = True


def is_mergeable(model: nn.Module) -> bool:
    """Return whether `merge` can merge the adapter. To save memory, only one module of each kind is tried."""
    kinds = dict[object, tuple[str, Adapted]]()
    for path, adapted in adapted_modules(model):
        base, is_block_end = adapted.base, adapted.capture is not None
        has_bias = getattr(base, "bias", None) is not None
        kinds[type(base), has_bias, is_block_end, adapted.placement] = public_name(path), adapted
    try:
        for label, adapted in kinds.values():
            _merged_weights(label, adapted)
    except Exception:  # a user's own branch can raise any error
        return False
    return not prompt_length(model)


def unmerge(model: nn.Module) -> None:
    """Restore the bit-identical original weights after `merge`, and let the branches run again."""
    adapter = get_adapter(model)
    if not adapter.merged:
        raise KronaError("No adapter is merged into this model.")
    for slot, weight in adapter.weights_before_merge.items():
        put_back(slot, weight)
    for wrapper, base in adapter.layers_before_merge.items():
        wrapper.base = base
    for _, adapted in adapted_modules(model):
        adapted.merged = False
    adapter.weights_before_merge.clear()
    adapter.layers_before_merge.clear()
    adapter.merged = False


def bake(model: nn.Module) -> None:
    """Merge the adapter permanently. The model then has the original modules and names, and no adapter.

    After this call, ``save_pretrained`` writes a checkpoint that transformers loads without krona.

    Raises:
        KronaError: a branch cannot be merged into a weight. The model is then unchanged.
    """
    if not get_adapter(model).merged:
        merge(model)
    remove_branches(model)
    _dequantise(model)
    _record_untied(model)


def branch_matrix(branch: Branch) -> Tensor:
    """Return the matrix of a branch, (d_out, d_in).

    Raises:
        KronaError: the branch cannot be written as a matrix.
    """
    try:
        return branch.delta()
    except KronaError as error:
        raise KronaError(f"The {type(branch).__name__} branch cannot be written as a matrix. {error}") from error


@torch.no_grad()
def _merged_weights(label: str, adapted: Adapted) -> dict[str, Tensor]:
    """Return a layer's weights with the adapter merged into them, in the original orientation and dtype."""
    base, placement, branches = adapted.base, adapted.placement, adapted.own_branches()
    if branches[0].computes_layer:
        return _merge_whole_layer(label, base, branches[0])
    if not is_linear(base) or adapted.capture is not None:
        kind = "the end of a block" if adapted.capture is not None else f"a {type(base).__name__}, not a linear layer"
        raise KronaError(
            f"The adapter cannot be merged, because it adapts {label}, which is {kind}, and no single weight can "
            "hold its update (section 3.3 of the KronA paper). Use the adapter unmerged."
        )
    if isinstance(base, nn.Linear) and type(base).forward is not nn.Linear.forward and not is_quantised(base):
        raise KronaError(
            f"The adapter cannot be merged into {label}, because the forward() of {type(base).__name__} may compute "
            "something else than x Wᵀ + b. Use the adapter unmerged."
        )
    try:
        weight = weight_matrix(base)
        dtype = weight.dtype
        wide = torch.promote_types(dtype, torch.float32)
        matrices = [branch_matrix(copy.deepcopy(branch).to(wide)) for branch in branches]
        W = weight.to(wide)
        if placement.placement == "parallel":
            W = sum(matrices, W)
        else:
            for D in matrices:
                W = W + D @ W if placement.inner_residual else D @ W
    except KronaError as error:
        raise KronaError(f"{label}: {error}") from error
    if placement.placement == "sequential" and base.bias is not None:
        raise KronaError(
            f"The sequential branch at {label} cannot be merged, because it also changes the layer's bias. Use the "
            "adapter unmerged."
        )
    if adapted.dora is not None:
        W = adapted.dora.scale(W)[:, None] * W
    return {"weight": _cast(label, W.T if is_conv1d(base) else W, dtype)}


def _merge_whole_layer(label: str, base: nn.Module, branch: Branch) -> dict[str, Tensor]:
    """Return the weights of a layer after its branch has merged its update into a copy of the layer."""
    layer = dequantised_layer(base) if is_quantised(base) else base
    originals = dict(layer.named_parameters())
    try:
        wide = copy.deepcopy(layer).to(torch.promote_types(originals["weight"].dtype, torch.float32))
        weights = dict(branch.merged(wide).named_parameters())
    except KronaError as error:
        raise KronaError(f"{label}: {error}. Use the adapter unmerged.") from error
    return {key: _cast(label, weights[key].detach(), weight.dtype) for key, weight in originals.items()}


def _cast(label: str, weight: Tensor, dtype: torch.dtype) -> Tensor:
    merged = weight.to(dtype).clone(memory_format=torch.contiguous_format)
    if not merged.is_meta and not bool(torch.isfinite(merged).all()):
        raise KronaError(
            f"{label}: the merged weight contains values that are NaN, infinite or too large for "
            f"{str(dtype).removeprefix('torch.')}. Use the adapter unmerged, or merge it into a model in fp32."
        )
    return merged


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
