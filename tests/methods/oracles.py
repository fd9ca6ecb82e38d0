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


def summed_parts(x: Array, rank: int) -> Array:
    """Return the sum of x's parts of ``rank`` numbers for MiSS. The last part is padded with zeros."""
    total = np.zeros((*x.shape[:-1], rank))
    for i in range(x.shape[-1]):
        total[..., i % rank] += x[..., i]
    return total


def circulant_blocks(w: Array) -> Array:
    """Return the matrix of C3A: block (m, n) has w[m, n, (j - k) mod b] at row k and column j."""
    M, N, b = w.shape
    C = np.zeros((M * b, N * b))
    for row in range(M * b):
        for column in range(N * b):
            C[row, column] = w[row // b, column // b, (column % b - row % b) % b]
    return C


def monarch(R: Array, L: Array) -> Array:
    """Return the matrix of MoRe: two block-diagonal matrices, each followed by a permutation matrix."""
    (N, block, r), (_, _, out) = R.shape, L.shape
    first, second = np.zeros((N * block, N * r)), np.zeros((N * r, N * out))
    between, after = np.zeros((N * r, N * r)), np.zeros((N * out, N * out))
    for k in range(N):
        first[k * block : (k + 1) * block, k * r : (k + 1) * r] = R[k]
        second[k * r : (k + 1) * r, k * out : (k + 1) * out] = L[k]
        for a in range(r):
            between[a * N + k, k * r + a] = 1
        for i in range(out):
            after[k * out + i, i * N + k] = 1
    return first @ between @ second @ after


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
