"""Reference implementations of the branches in NumPy, written from the equations, without code of the project."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def eq_6(X: Array, ffn_of_X: Array, A: Array, B: Array, s: float, s_res: float) -> Array:
    return ffn_of_X + s * (X @ np.kron(A, B)) + s_res * X


def between_products(x: Array, A: Array, B: Array, b_inner: Array, sigma: str | None) -> Array:
    """Return Aᵀ σ(X B + b) for one row vector."""
    Z = x.reshape(A.shape[0], B.shape[0]) @ B + b_inner
    return (A.T @ (SIGMA[sigma](Z) if sigma else Z)).reshape(-1)


def bottleneck(h: Array, down: Array, down_bias: Array, up: Array, up_bias: Array, sigma: str) -> Array:
    return SIGMA[sigma](h @ down + down_bias) @ up + up_bias


def phm_weight(rule: Array, left: Array, right: Array) -> Array:
    """Return a weight of Compacter, W = Σᵢ Rᵢ ⊗ (Sᵢ Tᵢ)."""
    return np.sum([np.kron(R, S @ T) for R, S, T in zip(rule, left, right, strict=True)], axis=0)


def _erf(z: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float64])(z)


def _softplus(z: Array) -> Array:
    return np.logaddexp(0, z)


SIGMA = {
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: z * 0.5 * (1 + _erf(z / math.sqrt(2))),
    "gelu_new": lambda z: 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "mish": lambda z: z * np.tanh(_softplus(z)),
}
