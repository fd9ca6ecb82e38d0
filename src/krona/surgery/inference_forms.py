"""The inference form of each kind of place (`krona.surgery.inference`): a function of its inputs."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.kernels.contractions import product_onto_rows, rows_of, side_by_side, wide_factors
from krona.kernels.cost_model import Order, costs_of, predicted_costs
from krona.methods.inference_parts import Bottleneck, KroneckerParts
from krona.surgery.entrance import Entrance
from krona.surgery.wrapper import Adapted

Step = Callable[..., Any]
Finish = Callable[[Tensor, Tensor], Tensor]  # (y, x) → y with the branch in it
ALIGNED = 16  # hidden units: a product's columns come in multiples of this


def step_for(adapted: Adapted) -> Step | None:
    """The step that replaces a place's forward, or None where only the plain modules can run."""
    name = adapted.active
    if name is None or name not in adapted.places or adapted.merged or name in adapted.magnitudes:
        return None
    place, branches = adapted.places[name], list[Any](adapted.branches[name].children())
    entrance = adapted.entrances.get(name)
    parts = [branch.parts() for branch in branches if hasattr(branch, "parts")]
    if len(parts) < len(branches) or _unusual(adapted):
        return None
    with torch.no_grad():
        if place.placement == "parallel":
            if all(isinstance(part, Bottleneck) for part in parts):
                return _beside_relu_ffn(adapted.base, parts) or _bottlenecks_beside(adapted.base, parts, entrance)
            if all(isinstance(part, KroneckerParts) for part in parts):
                return _kronecker_beside(adapted.base, parts, entrance)
        elif place.placement == "sequential" and len(parts) == 1 and isinstance(parts[0], Bottleneck):
            return _bottleneck_after(adapted.base, parts[0], residual=place.inner_residual)
    return None


def _unusual(adapted: Adapted) -> bool:
    """Hooks, tensors without a version counter, or weights of several dtypes: cases for the plain modules."""
    weights = list(adapted.parameters())
    return (
        any(module._forward_hooks or module._forward_pre_hooks for module in adapted.modules())
        or any(weight.is_inference() for weight in weights)
        or len({(weight.dtype, weight.device) for weight in weights}) > 1
    )


def _bottleneck_after(base: nn.Module, part: Bottleneck, *, residual: bool) -> Step:
    down, down_bias, up = _with_constant(part)

    def finish(y: Tensor, x: Tensor) -> Tensor:
        z = part.non_linearity(torch.addmm(down_bias, y, down))  # (N, r + 1)
        return torch.addmm(y, z, up) if residual else z @ up

    return _step(base, lambda x: (None, finish))


def _bottlenecks_beside(base: nn.Module, parts: list[Bottleneck], entrance: Entrance | None) -> Step | None:
    if len({part.non_linearity for part in parts}) > 1:
        return None
    downs, biases, ups = zip(*(_with_constant(part) for part in parts), strict=True)
    down, down_bias, up = torch.cat(downs, 1), torch.cat(biases), torch.cat(ups)
    non_linearity = parts[0].non_linearity

    def finish(y: Tensor, x: Tensor) -> Tensor:
        return torch.addmm(y, non_linearity(torch.addmm(down_bias, x, down)), up)

    return _step(base, lambda x: (None, finish), entrance)


def _with_constant(part: Bottleneck) -> tuple[Tensor, Tensor, Tensor]:
    """Down (d, r+1), its bias, up (r+1, d): a unit that is always σ(1) carries the output bias."""
    one = part.down_bias.new_ones(1)
    constant = part.non_linearity(one)
    down = torch.cat([part.down, torch.zeros_like(part.down[:, :1])], 1)
    return down, torch.cat([part.down_bias, one]), torch.cat([part.up, (part.up_bias / constant)[None]])


def _beside_relu_ffn(base: Any, parts: list[Bottleneck]) -> Step | None:
    """ReLU bottlenecks beside a ReLU FFN: more hidden units of it."""
    if not _is_plain_ffn(base) or not hasattr(base, "wi") or not isinstance(base.act, nn.ReLU):
        return None
    if any(part.non_linearity is not F.relu for part in parts):
        return None
    downs, biases, ups = zip(*(_with_constant(part) for part in parts), strict=True)
    hidden = base.wi.out_features
    spare = -(hidden + sum(map(len, biases))) % ALIGNED
    wi = F.pad(torch.cat([base.wi.weight, *(down.T for down in downs)]), (0, 0, 0, spare))
    bias = F.pad(torch.cat([base.wi.weight.new_zeros(hidden), *biases]), (0, spare))
    wo = F.pad(torch.cat([base.wo.weight, *(up.T for up in ups)], 1), (0, spare))

    def step(x: Tensor) -> Tensor:
        return F.linear(F.linear(x, wi, bias).relu_(), wo)

    return step


def _kronecker_beside(base: Any, parts: list[KroneckerParts], entrance: Entrance | None) -> Step | None:
    """All Kronecker modules of a place as one; their non-linearity and shapes must be the same."""
    if len({(part.A.shape, part.B.shape, part.non_linearity, part.inner_bias is None) for part in parts}) > 1:
        return None
    A, B = torch.cat([part.A for part in parts]), torch.cat([part.B for part in parts])
    T, shape_a, shape_b = len(A), tuple(A.shape[1:]), tuple(B.shape[1:])  # A (T, a1, a2), B (T, b1, b2)
    biases, gates = [p.bias for p in parts if p.bias is not None], [p.gate for p in parts if p.gate is not None]
    bias = torch.stack(biases).sum(0) if biases else None
    gate = torch.stack(gates).sum(0) if gates else None
    between = None
    if parts[0].non_linearity is not None or parts[0].inner_bias is not None:
        inner = None if parts[0].inner_bias is None else torch.cat([p.inner_bias for p in parts]).reshape(-1)  # type: ignore[misc]
        between = (inner, parts[0].non_linearity)
    matrix: list[Tensor] = []
    orders: tuple[Order, ...] = ("b_first", "a_first")
    adding = {order: _adding(A, B, order, between=between, in_place=_is_plain_ffn(base)) for order in orders}

    def first(x: Tensor) -> Tensor | None:
        if gate is None:
            return bias
        return x * gate if bias is None else torch.addcmul(bias, x, gate)

    def around(x: Tensor) -> tuple[Tensor | None, Finish]:
        order: Order = "b_first" if between is not None else _form(shape_a, shape_b, T, len(x), x.device.type)
        if order != "built":
            return first(x), adding[order]
        if not matrix:
            matrix.append(_matrix(A, B, gate))
        return x @ matrix[0] if bias is None else torch.addmm(bias, x, matrix[0]), lambda y, x: y

    return _step(base, around, entrance)


def _adding(
    A: Tensor,
    B: Tensor,
    order: Order,
    *,
    between: tuple[Tensor | None, Callable[[Tensor], Tensor] | None] | None,
    in_place: bool,
) -> Finish:
    """(y, x) → ``y + x (A ⊗ B)``, the terms side by side; an inner bias (T·b2) and σ after X B."""
    wide_a, wide_b = side_by_side(A, B, order)
    inner_bias, function = between or (None, None)

    def first(X: Tensor, wide_b: Tensor) -> Tensor:
        Z = X @ wide_b if inner_bias is None else torch.addmm(inner_bias, X, wide_b)  # (N·a1, T·b2)
        return Z if function is None else function(Z)

    def add(y: Tensor, x: Tensor) -> Tensor:
        return product_onto_rows(y, x, wide_a, wide_b, order, first=first, in_place=in_place)

    return add


@lru_cache(maxsize=4096)
def _form(shape_a: tuple[int, ...], shape_b: tuple[int, ...], terms: int, rows: int, device: str) -> Order:
    """Two products from factors, or one with the matrix, which is built already."""
    c, costs = costs_of(device), predicted_costs(shape_a, shape_b, rows=rows, device=device, terms=terms)
    costs["built"] = c.plain(rows, shape_a[0] * shape_b[0], shape_a[1] * shape_b[1])  # once for all forwards
    orders: list[Order] = ["b_first", "a_first", "built"]
    return min(orders, key=lambda order: costs[order])


def _matrix(A: Tensor, B: Tensor, gate: Tensor | None) -> Tensor:
    (matrix,) = wide_factors(A, B, "built")
    return matrix if gate is None else matrix + gate * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


def _is_plain_ffn(base: Any) -> bool:
    """T5's FFN whose linear layers are its own, without biases."""
    names = [name for name in ("wi", "wi_0", "wi_1", "wo") if hasattr(base, name)]
    plain = all(type(getattr(base, name)) is nn.Linear and getattr(base, name).bias is None for name in names)
    return plain and "wo" in names and hasattr(base, "act") and set(names) in ({"wi", "wo"}, {"wi_0", "wi_1", "wo"})


def _step(
    base: nn.Module, around: Callable[[Tensor], tuple[Tensor | None, Finish]], entrance: Entrance | None = None
) -> Step:
    """``finish(base(x) + start, x)`` with start (or None) and finish of ``around(x)``, on rows (N, d).

    entrance: where a part of the model begins that ends in ``base``: x is then the part's input.

    A plain FFN's products are done here, start inside the last: at batch 1 the modules' Python takes longer than a
    branch's arithmetic, so none of it is left.
    """
    if _is_plain_ffn(base):
        ffn = _ffn(base)

        def through_ffn(x: Tensor) -> Tensor:
            x2 = rows_of(x)
            start, finish = around(x2)
            return finish(ffn(x2, start), x2).view(x.shape)

        return through_ffn

    def through_module(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        output = base(x, *args, **kwargs)
        y = output[0] if isinstance(output, tuple) else output
        x2, y2 = rows_of(x if entrance is None else entrance.take()), rows_of(y)
        start, finish = around(x2)
        out = finish(y2 if start is None else y2 + start, x2).view(y.shape)
        return (out, *output[1:]) if isinstance(output, tuple) else out

    return through_module


def _ffn(base: Any) -> Callable[[Tensor, Tensor | None], Tensor]:
    """(x, start) → ``start + FFN(x)``, rows."""
    wo, act = base.wo.weight.T, torch.relu_ if type(base.act) is nn.ReLU else base.act
    names = ("wi",) if hasattr(base, "wi") else ("wi_0", "wi_1")
    wi, *gated = (getattr(base, name).weight for name in names)

    def ffn(x: Tensor, start: Tensor | None) -> Tensor:
        h = act(F.linear(x, wi))
        for weight in gated:
            h = h * F.linear(x, weight)
        return h @ wo if start is None else torch.addmm(start, h, wo)

    return ffn
