"""Test the mixed model of the calibration against the analysis of variance of a balanced design."""

import numpy as np
import pytest

from benchmarks.calibration import make_sample
from benchmarks.mixed_model import fit_mixed_model


def test_a_balanced_design_has_the_variance_components_of_the_analysis_of_variance() -> None:
    """Methods × seeds × rows. All mean squares are in the order in which no variance is estimated as 0."""
    methods, seeds, rows = 4, 5, 60
    rng = np.random.default_rng(3)
    shares = rng.normal(size=(methods, seeds, rows)) + rng.normal(size=rows) + rng.normal(size=(methods, 1, rows))
    shares = shares + 2 * rng.normal(size=(methods, seeds, 1)) + 3 * rng.normal(size=(1, seeds, 1))
    found = fit_mixed_model([make_sample(one / rows) for one in shares], (0, 1))
    cells, of_rows = shares.mean(2), shares.mean(1)
    interaction = of_rows - of_rows.mean(1, keepdims=True) - of_rows.mean(0) + of_rows.mean()
    on_rows = seeds * (interaction**2).sum() / ((methods - 1) * (rows - 1))
    models = cells - cells.mean(1, keepdims=True) - cells.mean(0) + cells.mean()
    of_models = rows * (models**2).sum() / ((methods - 1) * (seeds - 1))
    rest = shares - cells[:, :, None] - of_rows[:, None] + shares.mean((1, 2))[:, None, None]
    noise = (rest**2).sum() / (methods * (seeds - 1) * (rows - 1))
    expected = 2 / (seeds * rows) * (on_rows + of_models - noise)
    assert found.value == pytest.approx(cells[0].mean() - cells[1].mean())
    assert found.error**2 == pytest.approx(expected, rel=0.01)  # the tolerance of the optimiser
    parts = np.array([on_rows, of_models, noise])
    df = np.array([(methods - 1) * (rows - 1), (methods - 1) * (seeds - 1), methods * (seeds - 1) * (rows - 1)])
    assert found.df == pytest.approx((on_rows + of_models - noise) ** 2 / (parts**2 / df).sum(), rel=0.05)
