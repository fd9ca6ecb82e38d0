"""Find the fault of a branch that made a run or an export fail."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError, first_line
from krona.surgery.state import adapted_modules, get_state
from krona.surgery.targets import widths_at
from krona.surgery.wrapper import public_name

TOLERANCE = 1e-3  # the largest difference between ``delta`` and ``forward``, as a fraction of the largest output


def find_branch_fault(model: nn.Module) -> str | None:
    """Return a message for the first branch of the active adapter with a wrong ``forward`` or ``delta``, or None.

    ``forward`` must map (..., d_in) to (..., d_out). ``delta``, if the branch has it, must return a matrix
    (d_out, d_in) with ``forward(x) = x @ delta().T``. The check uses random inputs.
    """
    name = get_state(model).active
    for place, adapted in adapted_modules(model):
        if name is None or name not in adapted.branches:
            continue
        d_in, d_out = widths_at(adapted, name)
        sizes = {"parallel": (d_in, d_out), "sequential": (d_out, d_out), "before": (d_in, d_in)}
        for branch in adapted.branches[name].children():
            label = f"{type(branch).__name__} at {public_name(place)}"
            if fault := _find_fault(label, branch, *sizes[adapted.places[name].placement]):
                return fault
    return None


@torch.no_grad()
def _find_fault(label: str, branch: nn.Module, d_in: int, d_out: int) -> str | None:
    device = next((p.device for p in branch.parameters()), torch.device("cpu"))
    branch = copy.deepcopy(branch).to(torch.float32).eval()
    x = torch.randn(1, 4, d_in, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        y: Tensor = branch(x)
    except RuntimeError as error:
        return f"forward() of {label} failed for an input of shape {tuple(x.shape)}: {first_line(error)}."
    if y.shape != (1, 4, d_out):
        return (
            f"forward() of {label} returned the shape {tuple(y.shape)} for an input of shape {tuple(x.shape)}. It must "
            f"return the shape {(1, 4, d_out)}, whose last size is d_out."
        )
    delta: Any = getattr(branch, "delta", None)
    try:
        matrix: Tensor | None = None if delta is None else delta()
    except KronaError:  # the branch is not equal to a matrix
        return None
    if matrix is None:
        return None
    must = "It must return the matrix (d_out, d_in) with forward(x) = x @ delta().T."
    if matrix.shape != (d_out, d_in):
        return f"delta() of {label} returned the shape {tuple(matrix.shape)} instead of {(d_out, d_in)}. {must}"
    difference = float((x @ matrix.T - y).abs().max() / y.abs().max().clamp(min=1e-30))
    if difference <= TOLERANCE:
        return None
    return f"delta() of {label} differs from forward() by {difference:.2g} of the largest output. {must}"
