"""Check ``forward`` and ``delta`` of branches, and check that a model calls all of its branches."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError, first_line
from krona.methods.branch import Branch
from krona.surgery.state import adapted_modules, get_state
from krona.surgery.target_modules import widths_at
from krona.surgery.wrapper import public_name, unwrap

READ_ELSEWHERE = (
    "The adapter cannot be merged into {}, because another module of this model computes with the weight of this layer."
)
TOLERANCE = 1e-3  # the maximum difference between ``delta`` and ``forward``, as a fraction of the largest output


def find_branch_fault(model: nn.Module) -> str | None:
    """Check the branches of the active adapter. Return a message for the first wrong ``forward`` or ``delta``, or None.

    ``forward`` must map (..., d_in) to (..., d_out). If a branch defines ``delta``, this method must return a
    matrix (d_out, d_in) with ``forward(x) = x @ delta().T``. The check uses random inputs and parameters, because the
    initial output of many branches is zero. Only one branch of each class and size is checked.
    """
    name, checked = get_state(model).active, set()
    for module_name, adapted in adapted_modules(model):
        if name is None or name not in adapted.branches:
            continue
        size = adapted.placements[name].widths(*widths_at(adapted, name))
        for branch in adapted.own_branches(name):
            key = type(branch), size, tuple(p.shape for p in branch.parameters())
            label = f"{type(branch).__name__} at {public_name(module_name)}"
            if key not in checked and (fault := _find_fault(label, branch, *size)):
                return fault
            checked.add(key)
    return None


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
    state = get_state(model)
    state.is_checked = False
    if not state.checks:
        state.checks = [
            model.register_forward_pre_hook(_begin_check),
            model.register_forward_hook(_end_check),
            model.register_load_state_dict_post_hook(_record_loaded),  # type: ignore[no-untyped-call]
        ]


def _begin_check(model: nn.Module, inputs: object) -> None:
    if torch.compiler.is_compiling():
        return
    state = get_state(model)
    trains = state.active is not None and model.training and torch.is_grad_enabled()
    if trains and not state.adapters[str(state.active)].prepared:
        raise KronaError(
            "The initial values of the branches are not computed yet. Call surgery.prepare(model, batches) before "
            "training, or load the values from an adapter file or with load_state_dict."
        )
    if state.is_checked:
        return
    for _, adapted in adapted_modules(model):
        adapted.was_called = adapted.weight_was_read = adapted.weight_was_used = False
        adapted.watches_weight = True


def _end_check(model: nn.Module, inputs: object, output: object) -> None:
    if torch.compiler.is_compiling() or (state := get_state(model)).is_checked:
        return
    for _, adapted in adapted_modules(model):
        adapted.watches_weight = False
    if state.active is None:
        return
    modules = [(name, adapted) for name, adapted in adapted_modules(model) if state.active in adapted.branches]
    for name, adapted in modules:
        if adapted.merged and adapted.was_called and adapted.weight_was_used:
            raise KronaError(f"{READ_ELSEWHERE.format(public_name(name))} Call surgery.unmerge(model).")
        if not adapted.merged and adapted.weight_was_read and not adapted.was_called:
            raise KronaError(skipped_branch(name, unwrap(model.get_submodule(name.rpartition(".")[0]))))
    state.is_checked = True


def _record_loaded(model: nn.Module, keys: Any) -> None:
    """Record that the branches have initial values if ``load_state_dict`` loaded all of their tensors."""
    for name, adapter in get_state(model).adapters.items():
        if not any(f".branches.{name}." in key for key in keys.missing_keys):
            adapter.prepared = True


@torch.no_grad()
def _find_fault(label: str, branch: Branch, d_in: int, d_out: int) -> str | None:
    first = next(branch.parameters(), torch.zeros(()))
    device, dtype = first.device, torch.promote_types(first.dtype, torch.float32)
    branch = copy.deepcopy(branch).to(dtype).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in filter(Tensor.is_floating_point, branch.parameters()):
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(device, dtype))
    x = torch.randn(1, 4, d_in, generator=generator).to(device, dtype)
    try:
        y: Tensor = branch(x)
    except Exception as error:  # a user's own branch, or a layer of peft, can raise any error
        return f"forward() of {label} failed for an input of shape {tuple(x.shape)}: {first_line(error).rstrip('.')}."
    if y.shape != (1, 4, d_out):
        return (
            f"forward() of {label} returned the shape {tuple(y.shape)} for an input of shape {tuple(x.shape)}. The "
            f"output must have the shape {(1, 4, d_out)}, whose last dimension is d_out."
        )
    try:
        matrix = branch.delta()
    except KronaError:  # the branch cannot be written as a matrix
        return None
    except RuntimeError as error:
        return f"delta() of {label} failed: {first_line(error)}."
    if not y.isfinite().all():  # the output may be undefined for random values
        return None
    must = "delta() must return the matrix (d_out, d_in) with forward(x) = x @ delta().T."
    if matrix.shape != (d_out, d_in):
        return f"delta() of {label} returned the shape {tuple(matrix.shape)} instead of {(d_out, d_in)}. {must}"
    difference = float((x @ matrix.T - y).abs().max() / y.abs().max().clamp(min=1e-30))
    if difference <= TOLERANCE:
        return None
    return f"delta() of {label} differs from forward() by {difference:.2g} times the largest output. {must}"
