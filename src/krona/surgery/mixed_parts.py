"""Weights of many branches one after another, and their products with rows of different branches.

A stack is the parts of a method (`krona.methods.inference_parts`) whose tensors have one more dimension in front: the
adapters, or, gathered, the rows of a batch. R rows of S tokens: x (R, S, d).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, replace
from functools import singledispatch
from typing import Any, TypeVar

import torch
from torch import Tensor

from krona.methods.inference_parts import Affine, Bottleneck, Constant, KroneckerParts, LowRank, Parts

P = TypeVar("P", bound=Parts)


def kind_of(parts: Parts) -> Hashable:
    """What parts must have in common to be of one stack: shapes and functions."""
    values = [getattr(parts, field.name) for field in fields(parts)]
    return type(parts), *(tuple(value.shape) if isinstance(value, Tensor) else value for value in values)


def stacked(parts: Sequence[P]) -> P:
    return _each(parts[0], lambda name, _: torch.stack([getattr(one, name) for one in parts]))


def gathered(stack: P, rows: Tensor) -> P:
    return _each(stack, lambda _, tensor: tensor.index_select(0, rows))


def _each(parts: P, function: Callable[[str, Tensor], Tensor]) -> P:
    values = {field.name: getattr(parts, field.name) for field in fields(parts)}
    tensors: dict[str, Any] = {name: function(name, v) for name, v in values.items() if isinstance(v, Tensor)}
    return replace(parts, **tensors)


def mark_of(tensor: Tensor) -> tuple[int, int, int]:
    """Changes when a tensor is written to, moved or another one."""
    return id(tensor), tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


def applied(parts: Parts, x: Tensor) -> Tensor:
    """(R, ..., d_in) → (R, ..., d_out), each row with its own weights."""
    y: Tensor = _applied(parts, x.reshape(len(x), -1, x.shape[-1]))
    return y.view(*x.shape[:-1], y.shape[-1])


@singledispatch
def _applied(parts: Any, x: Tensor) -> Tensor:
    raise NotImplementedError(type(parts))


@_applied.register
def _low_rank(parts: LowRank, x: Tensor) -> Tensor:
    return torch.bmm(torch.bmm(x, parts.down), parts.up)


@_applied.register
def _bottleneck(parts: Bottleneck, x: Tensor) -> Tensor:
    z = parts.non_linearity(torch.baddbmm(parts.down_bias[:, None], x, parts.down))  # (R, S, r)
    return torch.baddbmm(parts.up_bias[:, None], z, parts.up)


@_applied.register
def _kronecker(parts: KroneckerParts, x: Tensor) -> Tensor:
    (R, T, a1, a2), (b1, b2), S = parts.A.shape, parts.B.shape[2:], x.shape[1]
    Z = torch.bmm(x.reshape(R, S * a1, b1), parts.B.transpose(1, 2).reshape(R, b1, T * b2))
    if parts.inner_bias is not None:
        Z = Z + parts.inner_bias.reshape(R, 1, T * b2)
    if parts.non_linearity is not None:
        Z = parts.non_linearity(Z)
    wide_a = parts.A.permute(0, 3, 2, 1).reshape(R, 1, a2, a1 * T)
    y = torch.matmul(wide_a, Z.view(R, S, a1 * T, b2)).view(R, S, a2 * b2)
    if parts.bias is not None:
        y = y + parts.bias[:, None]
    return y if parts.gate is None else y + parts.gate.view(R, 1, 1) * x


@_applied.register
def _constant(parts: Constant, x: Tensor) -> Tensor:
    return parts.value[:, None].expand(-1, x.shape[1], -1).contiguous()


@_applied.register
def _affine(parts: Affine, x: Tensor) -> Tensor:
    y = x if parts.scale is None else x * parts.scale[:, None]
    return y if parts.shift is None else y + parts.shift[:, None]
