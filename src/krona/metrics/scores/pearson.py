"""Pearson correlation."""

import numpy as np

from .metric import Answers, Floats, Metric, Sums, ratio


class Pearson(Metric):
    """Pearson correlation of numbers. An invalid prediction is replaced by -1."""

    of_numbers = True

    def sums(self, answers: Answers, values: Floats | None) -> Sums:
        middle = answers.targets.mean()
        # Without its mean, the sums of a run are exact also if its predictions are nearly equal. The sums of two runs
        # that exchange predictions need the same origin, and the median ignores a very large prediction.
        origin = answers.predictions.mean() if values is None else np.median(values)
        x, y = answers.targets - middle, answers.predictions - origin
        return Sums(np.stack([np.ones(len(x)), x, y, x * y, x * x, y * y], axis=1), _value)


def _value(sums: Floats) -> Floats:
    n, x, y, xy, xx, yy = np.moveaxis(sums, -1, 0)
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    # A variance that is only the rounding error of constant values is set to 0.
    flat = (spread_x <= 1e-12 * n * xx) | (spread_y <= 1e-12 * n * yy)
    return 100.0 * ratio(n * xy - x * y, np.where(flat, 0.0, np.sqrt(np.abs(spread_x * spread_y))))
