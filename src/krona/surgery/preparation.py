"""Compute the initial values of branches from the layer's weight, as in PiSSA, or from training data."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys

from krona.messages import KronaError
from krona.surgery.layers import public_name, weight_matrix
from krona.surgery.state import adapted_modules, get_adapter

Loss = Callable[[nn.Module, Any], Tensor]


def is_prepared(model: nn.Module) -> bool:
    """Return whether the branches have their initial values (`prepare`)."""
    return get_adapter(model).prepared


def require_preparation(model: nn.Module) -> None:
    """If `prepare` has to compute initial values, let the training raise an error until they are computed or loaded."""
    adapter = get_adapter(model)
    if not adapter.prepared:
        adapter.hooks = [
            model.register_forward_pre_hook(_check_prepared),
            model.register_load_state_dict_post_hook(_record_loaded),  # type: ignore[no-untyped-call]
        ]


def _check_prepared(model: nn.Module, inputs: object) -> None:
    if model.training and torch.is_grad_enabled() and not torch.compiler.is_compiling() and not is_prepared(model):
        raise KronaError(
            "The initial values of the branches are not computed yet. Call surgery.prepare(model, batches) before "
            "training, or load the values from an adapter file or with load_state_dict."
        )


def _record_loaded(model: nn.Module, keys: _IncompatibleKeys) -> None:
    if not any(".branches." in key for key in keys.missing_keys):
        get_adapter(model).prepared = True


def model_loss(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """Return the loss that a transformers model computes for a batch."""
    loss: Tensor = model(**batch).loss
    return loss


def prepare(model: nn.Module, batches: Iterable[Any] = (), loss: Loss = model_loss) -> None:
    """Compute the initial values of the branches, if the values depend on the model or on data.

    Call this function after `insert` and before training. The function does nothing if the branches already have
    initial values, for example from an adapter file. The model is in eval mode during the computation, so equal
    batches give equal values.

    Args:
        batches: batches of one row each, in training order. Only the first ``init_rows`` batches are used. Batches of
            several rows could contain padding, which would count as input of the layers.
        loss: a function that returns the loss of the model for a batch.

    Raises:
        KronaError: the branches need batches, but no batch reached a layer.
    """
    if is_prepared(model):
        return
    modules = {public_name(path): at for path, at in adapted_modules(model)}
    branches = [(module_name, branch) for module_name, at in modules.items() for branch in at.own_branches()]
    layers = {module_name: at.base for module_name, at in modules.items()}
    needs, rows = branches[0][1].needs, max(branch.init_rows for _, branch in branches)
    sums = {} if needs == "weight" else _sum_over_rows(model, layers, needs, islice(batches, rows), loss)
    for module_name, branch in branches:
        W = weight_matrix(layers[module_name]).detach()
        # the matrix is decomposed on the CPU, because the result differs between devices
        matrix = sums[module_name] if sums else W.to("cpu", torch.promote_types(W.dtype, torch.float32))
        branch.prepare(matrix)
    get_adapter(model).prepared = True


def _sum_over_rows(
    model: nn.Module, layers: Mapping[str, nn.Module], needs: str | None, batches: Iterable[Any], loss: Loss
) -> dict[str, Tensor]:
    """Return the gradient of each layer's weight, or the covariance of its inputs, in fp64."""
    calls: list[tuple[str, Tensor, Tensor]] = []  # module name, input and output of each call

    def record(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if torch.is_grad_enabled() and not output.requires_grad:
            output.requires_grad_()  # no parameter before this layer is trainable
        calls.append((name, inputs[0].detach(), output))

    handles = [layer.register_forward_hook(partial(record, name)) for name, layer in layers.items()]
    sums: dict[str, Tensor] = {}
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for batch in batches:
            calls.clear()
            with torch.set_grad_enabled(needs == "gradient"):
                value = loss(model, batch)
            outputs = [output for _, _, output in calls]
            lefts = torch.autograd.grad(value, outputs, materialize_grads=True) if needs == "gradient" else ()
            for number, (name, x, _) in enumerate(calls):
                right = x.reshape(-1, x.shape[-1]).to("cpu", torch.float64)
                if needs == "gradient":
                    left = lefts[number].reshape(len(right), -1).to("cpu", torch.float64)
                else:
                    left = right = F.pad(right, (0, 1), value=1.0)  # the products with 1 are the sums and the count
                sums[name] = sums.get(name, 0) + left.T @ right
    finally:
        for module, mode in modes.items():
            module.training = mode
        for handle in handles:
            handle.remove()
    if missing := [name for name in layers if name not in sums]:
        raise KronaError(
            f"The initial values of the branches depend on training data, but no batch reached {missing[0]}. Pass "
            "batches to surgery.prepare."
        )
    if needs == "gradient":
        return sums
    means = {name: total / total[-1, -1] for name, total in sums.items()}  # the means of (x, 1) (x, 1)ᵀ
    return {name: mean[:-1, :-1] - torch.outer(mean[:-1, -1], mean[-1, :-1]) for name, mean in means.items()}
