"""Test Hessian-vector products through every method against those of a model with dense weights."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.backbones.insert_method import insert_method
from krona.kernels import kronecker as kernel
from krona.kernels.t5_modules import restore_modules
from krona.messages import KronaError
from krona.methods import cdka, kronecker, lokr, moka
from krona.surgery.branches import branch_matrix
from krona.surgery.layers import is_linear, weight_matrix
from krona.surgery.merging import add_update
from krona.surgery.wrapper import Adapted
from tiny_models import output, tiny
from tiny_t5 import METHODS, disturb, settings

TRAINED = sorted({*METHODS} - {"untuned"}, key=lambda name: (name != "krona", name))
KINDS = ("t5", "bert", "gpt2", "llama")
GRID = [  # krona with every architecture, and each other method with one; the other pairs are slow
    pytest.param(method, kind, marks=() if method == "krona" or kind == KINDS[number % 4] else pytest.mark.slow)
    for number, method in enumerate(TRAINED)
    for kind in KINDS
]
# The largest relative difference. In fp64 it is above 1e-16, because T5 and Llama compute a part of the norm in fp32.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
ADAPTED_FORWARD = Adapted.forward


class Loss(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self) -> Tensor:
        return (output(self.model) ** 2).mean()


def dense_forward(self: Adapted, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Compute the output of an adapted linear layer from the whole merged weight, if there is such a weight."""
    try:
        parallel = self.placement.placement == "parallel"
        if not is_linear(self.base) or self.capture or not (parallel or self.base.bias is None):
            return ADAPTED_FORWARD(self, x, *args, **kwargs)
        deltas = [branch_matrix(branch) for branch in self.branches]
    except KronaError:
        return ADAPTED_FORWARD(self, x, *args, **kwargs)
    W = add_update(weight_matrix(self.base), deltas, self.placement)
    if self.dora is not None:  # the norm is a constant in the backward pass
        magnitude: Any = self.dora.magnitude
        norms = torch.linalg.vector_norm(W.detach(), dim=1)
        W = (magnitude / norms)[:, None] * W
    return F.linear(x, W, self.base.bias)


def relative_difference(method: str, kind: str, dtype: torch.dtype) -> float:
    """Return the distance of a Hessian-vector product from that of the dense model, relative to its norm."""
    model = tiny(kind).to(dtype)
    model.set_attn_implementation("eager")  # torch has no second derivative of its fused attention
    insert_method(model, settings(method))
    disturb(model, by=0.02)
    whole = Loss(model)
    named = {n: p for n, p in whole.named_parameters() if p.requires_grad}
    generator = torch.Generator().manual_seed(5)
    vector = tuple(torch.randn(p.shape, generator=generator, dtype=dtype) for p in named.values())

    parameters = tuple(named.values())
    gradients = torch.autograd.grad(whole(), parameters, create_graph=True, materialize_grads=True)
    product = torch.autograd.grad(gradients, parameters, vector, materialize_grads=True)

    dense = copy.deepcopy(whole)
    restore_modules(dense)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adapted, "forward", dense_forward)
        for module in (cdka, kronecker, lokr, moka):
            patch.setattr(module, "kron_matmul", lambda x, A, B: x @ kernel.kron_product(A, B))

        def dense_loss(*values: Tensor) -> Tensor:
            out: Tensor = torch.func.functional_call(dense, dict(zip(named, values, strict=True)), ())
            return out

        _, expected = torch.autograd.functional.hvp(dense_loss, tuple(p.detach() for p in parameters), vector)
    flat, reference = (torch.cat([one.flatten() for one in many]) for many in (product, expected))
    return float((flat - reference).norm() / reference.norm())


@pytest.mark.parametrize(("method", "kind"), GRID)
def test_hessian_vector_products_are_those_of_the_dense_model(method: str, kind: str) -> None:
    for dtype, tolerance in TOLERANCE.items():
        assert relative_difference(method, kind, dtype) <= tolerance, dtype
