"""Simulate pairs of methods, and print the level and the power of krona's test and of the test of Welch.

    python -m benchmarks.calibration                 # a few minutes on one core
    python -m benchmarks.calibration --pairs 100     # a quick look
    python -m benchmarks.calibration --json docs/results/calibration.json

Each row has a difficulty that all models share. Each trained model (a method and a seed) has an effect on its expected
score, and noise on each row. The columns are

- level: the share of pairs of equal methods with p ≤ 0.05,
- new rows: the same, if each method also has its own effect on each row, with mean 0, that all its seeds share, and
- power: the share of pairs with p ≤ 0.05 if the second method is better.

The test of Welch sees only the scores, so its level is wrong for new rows.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from krona.metrics.compare_methods import LEVEL, Sample, combine_variances, compare, row_contributions
from krona.metrics.scores.metric import Answers

Floats = NDArray[np.float64]
NOISE_SD, ROW_SD = 0.5, 0.3  # of the models' noise and the methods' effects on a row; the difficulties have sd 1
COLLAPSE = 15.0  # points that a collapsed run loses


@dataclass(frozen=True)
class Scene:
    """A pair of methods. ``gain`` is the difference in points with which the power is measured."""

    gain: float
    seeds: tuple[int, int] = (5, 5)
    seed_sds: tuple[float, float] = (0.5, 0.5)  # of the expected scores over the seeds, in points
    distribution: Literal["normal", "t", "collapses"] = "normal"  # of the effects of seeds; t has 3 degrees of freedom
    accuracy: float = 0.7
    positive: float = 0.5  # the share of rows of class 1
    metric: str = "accuracy"
    rows: int = 400


SCENES = {
    "a: 3 seeds": Scene(4.0, seeds=(3, 3)),
    "b: 20 seeds": Scene(1.0, seeds=(20, 20)),
    "c: 5 seeds, sd × 5": Scene(4.0, seed_sds=(2.5, 0.5)),
    "d: 5 seeds, sd × 25": Scene(15.0, seed_sds=(12.5, 0.5)),
    "e: 20 and 10 seeds": Scene(1.3, seeds=(20, 10)),
    "f: t with 3 df": Scene(2.5, distribution="t", seed_sds=(1.0, 1.0)),
    "g: 10 % collapses, 10 seeds": Scene(4.0, seeds=(10, 10), distribution="collapses"),
    "h: accuracy 0.99": Scene(0.4, accuracy=0.99, seed_sds=(0.1, 0.1), rows=2000),
    "i: Matthews, 5 % positive": Scene(
        0.7, accuracy=0.97, positive=0.05, metric="matthews", seed_sds=(0.2, 0.2), rows=2000
    ),
    "noisy reference, 5 seeds": Scene(4.0, seed_sds=(2.5, 0.1)),
    "sd × 5, 3 seeds": Scene(7.0, seeds=(3, 3), seed_sds=(2.5, 0.5)),
    "sd × 25, 3 seeds": Scene(20.0, seeds=(3, 3), seed_sds=(12.5, 0.5)),
    "sd × 5, 20 and 10 seeds": Scene(2.0, seeds=(20, 10), seed_sds=(0.5, 2.5)),
}


def simulate(rng: np.random.Generator, scene: Scene, *, gain: float = 0.0, row_sd: float = 0.0) -> list[list[Answers]]:
    """Return the answers of each run of two methods. The second method's accuracy is higher by ``gain`` points."""
    shape = (2, max(scene.seeds), 1)
    effects = rng.normal(size=shape)
    if scene.distribution == "t":
        effects = rng.standard_t(3, size=shape) / np.sqrt(3)
    effects = effects * np.reshape(scene.seed_sds, (2, 1, 1)) + np.reshape([0.0, gain], (2, 1, 1))
    if scene.distribution == "collapses":
        effects = effects - COLLAPSE * (rng.random(shape) < 0.1)
    difficulty = rng.normal(size=scene.rows) + row_sd * rng.normal(size=(2, 1, scene.rows))
    noise = NOISE_SD * rng.standard_normal((*shape[:2], scene.rows), dtype=np.float32)
    expected = np.clip(scene.accuracy + effects / 100, 0.01, 0.9999)
    right = stats.norm.ppf(expected) * np.sqrt(1 + row_sd**2 + NOISE_SD**2) + difficulty + noise > 0
    labels = (np.arange(scene.rows) < scene.positive * scene.rows).astype(int)
    given = np.where(right, labels, 1 - labels)
    return [[Answers(labels, run, 2) for run in runs[:n]] for runs, n in zip(given, scene.seeds, strict=True)]


def make_samples(pair: list[list[Answers]], metric: str) -> list[Sample]:
    if metric == "accuracy":  # faster than `row_contributions`, and equal
        return [Sample(np.array([run.hits for run in runs]) * (100 / len(runs[0]))) for runs in pair]
    return [Sample(row_contributions(runs, [metric])) for runs in pair]


def measure(scene: Scene, pairs: int) -> dict[str, float]:
    """Return the share of simulated pairs with p ≤ 0.05 by column, in percent."""
    shares: dict[str, float] = {}
    for column, gain, row_sd in (("level", 0.0, 0.0), ("new rows", 0.0, ROW_SD), ("power", scene.gain, 0.0)):
        rng = np.random.default_rng(0)
        p_values = []
        for _ in range(pairs):
            a, b = make_samples(simulate(rng, scene, gain=gain, row_sd=row_sd), scene.metric)
            found = compare(a, b)
            error, df = combine_variances((a.variance, b.variance), found.seeds, lasting=0.0)
            p_values.append((found.p, replace(found, error=error, df=df).p))
        share, share_welch = 100 * (np.array(p_values) <= LEVEL).mean(0)
        shares |= {column: float(share), f"{column}, Welch": float(share_welch)}
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4000, help="simulated pairs of each column")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    rows = []
    for name, scene in SCENES.items():
        rows.append({"name": name, **measure(scene, arguments.pairs)})
        if len(rows) == 1:
            print(f"{'scene':<28}" + "".join(f"{column:>17}" for column in [*rows[0]][1:]))
        print(f"{name:<28}" + "".join(f"{value:>17.1f}" for value in [*rows[-1].values()][1:]), flush=True)
    if arguments.json:
        table = json.dumps({"pairs": arguments.pairs, "rows": rows}, indent=1, ensure_ascii=False)
        arguments.json.write_text(f"{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
