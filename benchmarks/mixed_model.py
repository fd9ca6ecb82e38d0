"""Fit the linear mixed model with which `benchmarks/calibration.py` compares krona's test of two methods."""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from krona.metrics.compare_methods import MAX_DF, Difference, Sample

Floats = NDArray[np.float64]
LEAST = np.exp(-11)  # smaller variances, relative to the residual variance of the start, are treated as 0


def fit_mixed_model(samples: list[Sample], pair: tuple[int, int]) -> Difference:
    """Return the difference of two methods by restricted maximum likelihood, with Satterthwaite's degrees of freedom.

    The methods are fixed effects. Random effects are the rows, the methods on each row, the seeds, and the trained
    models (a method and a seed); the rest is the noise of each model on each row. All rows are scored with all models,
    so the likelihood is a product of a part for the means of the models and a part for the contrasts between rows.
    """
    shares = np.concatenate([one.contributions for one in samples])
    rows = shares.shape[1]
    method = np.repeat(np.arange(len(samples)), [len(one.seeds) for one in samples])
    seed = np.concatenate([one.seeds for one in samples])
    design = (method[:, None] == np.arange(len(samples))).astype(float)
    models = np.eye(len(method))
    per_row = np.stack([np.ones_like(models), design @ design.T, models])
    per_model = np.stack([models, (seed[:, None] == seed).astype(float)])
    means = shares.sum(1)
    scaled = shares * rows - means[:, None]
    products = scaled @ scaled.T
    scale = np.trace(products) / (rows - 1) / len(method)
    products, means = products / scale, means / np.sqrt(scale)

    def covariances(variances: Floats) -> tuple[Floats, Floats]:
        of_row = np.tensordot(variances[:3], per_row, 1)
        return of_row, (of_row + np.tensordot(variances[3:], per_model, 1)) / rows

    def loss(variances: Floats) -> float:
        of_row, of_mean = covariances(variances)
        inverse = np.linalg.inv(of_mean)
        information = design.T @ inverse @ design
        rest = means - design @ np.linalg.solve(information, design.T @ inverse @ means)
        contrasts = (rows - 1) * np.linalg.slogdet(of_row)[1] + np.trace(np.linalg.solve(of_row, products))
        of_means = np.linalg.slogdet(of_mean)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest
        return float(contrasts + of_means) / 2

    contrast = np.zeros(len(samples))
    contrast[[*pair]] = 1, -1

    def variance(variances: Floats) -> float:
        information = design.T @ np.linalg.inv(covariances(variances)[1]) @ design
        return float(contrast @ np.linalg.solve(information, contrast))

    start = np.log([0.3, 0.2, 0.5, 0.5, 0.1])
    found = optimize.minimize(lambda logs: loss(np.exp(logs)), start, method="L-BFGS-B", bounds=[(-12, 8)] * 5)
    best = np.exp(found.x)
    steps = np.diag(1e-3 * best)[best > LEAST]
    size = steps.sum(1)
    slope = np.array([variance(best + step) - variance(best - step) for step in steps]) / (2 * size)
    curvature = np.array([
        [sum(a * b * loss(best + a * one + b * two) for a in (1, -1) for b in (1, -1)) for two in steps]
        for one in steps
    ]) / (4 * np.outer(size, size))  # fmt: skip
    uncertainty = float(slope @ np.linalg.lstsq(curvature, slope)[0])
    inverse = np.linalg.inv(covariances(best)[1])
    effects = np.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ means)
    degrees = 2 * variance(best) ** 2 / uncertainty if uncertainty > 0 else MAX_DF
    seeds = [set(samples[place].seeds) for place in pair]
    return Difference(
        float(contrast @ effects) * float(np.sqrt(scale)),
        float(np.sqrt(variance(best) * scale)),
        min(degrees, MAX_DF),
        seeds=min(map(len, seeds)),
        common=len(seeds[0] & seeds[1]),
        rows=rows,
    )
