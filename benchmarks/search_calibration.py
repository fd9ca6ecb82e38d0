"""Simulate two equal methods, each with its own search, and print how often krona finds a difference between them.

    python -m benchmarks.search_calibration                # some minutes on one core
    python -m benchmarks.search_calibration --pairs 100    # a quick look

Each method has a grid of eight settings, each with several seeds, dev rows and test rows. The scenes differ in how the
expected accuracy depends on the setting, and in the spread over the seeds. The columns are

- fixed: the share of pairs with p ≤ 0.05 if each search chooses a setting with one seed, and Welch's test compares the
  chosen settings with the other seeds. This interval does not contain the search.
- k = 1, 3, 6, 8: the same share for `krona.metrics.best_of_k`,
- coverage: the share of its 95 % intervals at k = 6 that contain the true difference, if one method is better, and
- power: the share of pairs with p ≤ 0.05 at k = 6 if one method is better by 1 point.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from krona.metrics.best_of_k import Grid, compare_best_of_k

Floats = NDArray[np.float64]
SETTINGS, KS, K, GAIN, LEVEL = 8, (1, 3, 6, 8), 6, 1.0, 0.05
NOISE_SD = 0.5  # of the noise of a run on each row; the difficulties of the rows have sd 1
SCENES: dict[str, tuple[list[float], float, float]] = {  # accuracy below the best setting's, sd over seeds, collapses
    "flat optimum": ([0.0] * SETTINGS, 0.3, 0.0),
    "two good settings": ([0.0, 0.6, 1, 2, 3, 4, 6, 8], 0.25, 0.0),  # as block b of docs/preregistration.md
    "a sharp optimum": ([0.0, 2, 4, 6, 8, 10, 12, 14], 0.3, 0.0),
    "much noise": ([0.0, 0.3, 0.6, 0.9, 1.2, 1.5, 2, 3], 1.5, 0.0),
    "a collapsing setting": ([0.0, 0.1, 1, 2, 3, 4, 6, 8], 0.3, 0.2),
}


def simulate(rng: np.random.Generator, scene: str, *, seeds: int, dev: int, test: int, gain: float) -> list[Grid]:
    """Return the grids of two methods. The second method is better by ``gain`` points with each setting."""
    losses, seed_sd, collapses = SCENES[scene]
    difficulty = rng.normal(size=dev + test)
    grids = []
    for better in (0.0, gain):
        points = 85 + better - np.array(losses)[:, None] + rng.normal(0, seed_sd, (SETTINGS, seeds))
        points[0, rng.random(seeds) < collapses] = 50
        noise = NOISE_SD * rng.normal(size=(SETTINGS, seeds, dev + test))
        threshold = stats.norm.ppf(points / 100)[..., None] * np.hypot(1, NOISE_SD)
        right = (difficulty + noise < threshold).astype(float)
        grids.append(Grid(100 / dev * right[..., :dev], 100 / test * right[..., dev:]))
    return grids


def welch_of_chosen(grids: list[Grid]) -> float:
    """Return Welch's p-value of the settings that the first seed chooses, with the scores of the other seeds."""
    scores = [grid.test.sum(-1)[grid.dev[:, 0].sum(-1).argmax(), 1:] for grid in grids]
    return float(stats.ttest_ind(*scores, equal_var=False).pvalue)


def measure(scene: str, *, pairs: int, seeds: int, dev: int, test: int) -> dict[str, float]:
    """Return the columns of one scene as shares from 0 to 1."""
    rng, size = np.random.default_rng(0), {"seeds": seeds, "dev": dev, "test": test}
    equal = [simulate(rng, scene, **size, gain=0.0) for _ in range(pairs)]
    shares = {"fixed": float(np.mean([welch_of_chosen(grids) <= LEVEL for grids in equal]))}
    for k in KS:
        shares[f"k = {k}"] = float(np.mean([compare_best_of_k(grids, k)[0, 1].p <= LEVEL for grids in equal]))
    del equal
    unequal = [compare_best_of_k(simulate(rng, scene, **size, gain=GAIN), K)[0, 1] for _ in range(pairs)]
    truth = float(np.mean([difference.value for difference in unequal]))  # the estimate is unbiased
    inside = [low <= truth <= high for low, high in (difference.interval for difference in unequal)]
    return shares | {
        "coverage": float(np.mean(inside)),
        "power": float(np.mean([difference.p <= LEVEL for difference in unequal])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--dev", type=int, default=1000)
    parser.add_argument("--test", type=int, default=5000)
    parser.add_argument("--json", type=Path)
    arguments = vars(parser.parse_args())
    out = arguments.pop("json")
    results = {scene: measure(scene, **arguments) for scene in SCENES}
    print("".join(f"{name:>10}" for name in next(iter(results.values()))))
    for scene, shares in results.items():
        print("".join(f"{share:10.3f}" for share in shares.values()), "", scene)
    if out is not None:
        out.write_text(json.dumps({"settings": arguments, "scenes": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
