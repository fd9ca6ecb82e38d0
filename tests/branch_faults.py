"""Compare ``forward`` and ``delta`` of branches with what a branch class promises."""

import copy

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.state import adapted_modules
from krona.surgery.target_modules import widths_at

TOLERANCE = 1e-3  # the maximum difference between ``delta`` and ``forward``, as a fraction of the largest output


@torch.no_grad()
def find_branch_fault(model: nn.Module) -> str | None:
    """Check the branches of the adapter. Return a message for the first wrong ``forward`` or ``delta``, or None.

    ``forward`` must map (..., d_in) to (..., d_out). If a branch defines ``delta``, this method must return a
    matrix (d_out, d_in) with ``forward(x) = x @ delta().T``. The check uses random inputs and parameters, because the
    initial output of many branches is zero. Only one branch of each class and size is checked.
    """
    branches = {}
    for name, adapted in adapted_modules(model):
        size = adapted.placement.widths(*widths_at(adapted))
        for branch in adapted.own_branches():
            shapes = tuple(parameter.shape for parameter in branch.parameters())
            branches.setdefault((type(branch), size, shapes), (f"{type(branch).__name__} at {name}", branch))
    for (_, (d_in, d_out), _), (label, branch) in branches.items():
        first = next(branch.parameters(), torch.zeros(()))
        device, dtype = first.device, torch.promote_types(first.dtype, torch.float32)
        branch = copy.deepcopy(branch).to(dtype).eval()
        generator = torch.Generator().manual_seed(0)
        for parameter in filter(Tensor.is_floating_point, branch.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(device, dtype))
        x = torch.randn(1, 4, d_in, generator=generator).to(device, dtype)
        y = branch(x)
        if y.shape != (1, 4, d_out):
            return f"forward() of {label} returned the shape {tuple(y.shape)} instead of {(1, 4, d_out)}."
        try:
            matrix = branch.delta()
        except KronaError:  # the branch cannot be written as a matrix
            continue
        if not y.isfinite().all():  # the output may be undefined for random values
            continue
        if matrix.shape != (d_out, d_in):
            return f"delta() of {label} returned the shape {tuple(matrix.shape)} instead of {(d_out, d_in)}."
        difference = float((x @ matrix.T - y).abs().max() / y.abs().max().clamp(min=1e-30))
        if difference > TOLERANCE:
            return f"delta() of {label} differs from forward() by {difference:.2g} times the largest output."
    return None
