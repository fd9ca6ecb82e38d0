"""Simulate equal methods, and print how often krona's test finds a difference between them.

    python benchmarks/calibration.py                 # about half an hour on one core
    python benchmarks/calibration.py --sets 50       # a quick look

A row has a difficulty. Each method shifts the difficulty of each row, each trained model (a method and a seed) shifts
the difficulty of all rows, and each model has noise on each row. All shifts have mean 0, so all methods are equal over
many rows and seeds. The last method is better by 3 points, and is used only to measure the power. The columns are

- rows: the share of pairs with p ≤ 0.05 if only the variance over rows is used (a test of the given trained models),
- 2, 5, 9: the share of columns of 2, 5 and 9 equal methods in which a method is significantly worse than the best,
- 3 and 8 tasks: the share of tables of five methods with such a method, corrected over all pairs and tasks,
- coverage: the share of 95 % intervals of the difference of two methods that contain the true difference,
- equal: the share of pairs that differ by 1 point but are called equivalent within 1 point, and
- power: the share of tests that detect 3 points, using only the variance over rows, and in columns of 2 and 9 methods.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from krona.metrics.compare_methods import Sample, compare_pairs, row_shares
from krona.metrics.scores.metric import Answers
from krona.metrics.statistics import holm

Floats = NDArray[np.float64]
METHODS, SEEDS, GAIN, LEVEL = 9, 5, 3.0, 0.05
KINDS = {  # metrics, classes, share of the first class
    "accuracy": (["accuracy"], 2, 0.5),
    "three classes": (["accuracy"], 3, 1 / 3),
    "F1": (["f1"], 2, 0.32),
    "Matthews": (["matthews"], 2, 0.31),
    "correlations": (["pearson", "spearman"], 0, 0.0),
}
METHOD_SD, NOISE_SD = 0.3, 0.5  # of the row shifts of methods and models; the difficulties have sd 1
ACCURACY, CORRELATION = 0.85, 0.87
COLUMNS = ("rows", "2", "5", "9", "3 tasks", "8 tasks", "coverage", "equal", "power: rows", "power: 2", "power: 9")


def simulate(rng: np.random.Generator, kind: str, *, rows: int, seed_sd: float) -> list[list[Answers]]:
    """Return answers of `METHODS` equal methods and one better method, for each method and seed."""
    metrics, classes, first = KINDS[kind]
    shape = (METHODS + 1, SEEDS, rows)
    better = GAIN * (np.arange(METHODS + 1) == METHODS)[:, None, None]
    points = better + rng.normal(0, seed_sd, (METHODS + 1, SEEDS, 1))
    shift = METHOD_SD * rng.normal(size=(METHODS + 1, 1, rows)) + NOISE_SD * rng.normal(size=shape)
    shift = shift + rng.normal(size=rows)
    spread = np.sqrt(1 + METHOD_SD**2 + NOISE_SD**2)
    if not classes:  # the error has the standard deviation that gives the correlation
        truth = rng.normal(size=rows)
        r = CORRELATION + points / 100
        given = truth + shift / spread * np.sqrt(1 / r**2 - 1)
        return [[Answers(truth, one, 0) for one in seeds] for seeds in given]
    share = {"f1": 2 * (1 - first), "matthews": 2 * first * (1 - first)}.get(metrics[0], 1.0)
    slope = 100 / share * stats.norm.pdf(stats.norm.ppf(ACCURACY)) / spread  # points per unit of a shift
    right = stats.norm.ppf(ACCURACY) * spread + shift + points / slope > 0
    labels = rng.choice(classes, rows, p=[first, *[(1 - first) / (classes - 1)] * (classes - 1)])
    wrong = (labels + rng.integers(1, classes, shape)) % classes
    given = np.where(right, labels, wrong)
    return [[Answers(labels, one, classes) for one in seeds] for seeds in given]


def make_sample(shares: Floats) -> Sample:
    """Return the sample of a method with the seeds 0, 1, …, from its `row_shares` (seeds, rows)."""
    return Sample(shares, tuple(range(len(shares))))


def marked(samples: Iterable[Sequence[Sample]]) -> bool:
    """Return whether, in a table with these columns, a method is significantly worse than the best of its column."""
    found, p_values, of_best = [*samples], list[float](), list[bool]()
    for column in found:
        best = max(range(len(column)), key=lambda place: column[place].shares.sum())
        for pair, one in compare_pairs(column).items():
            p_values.append(one.p)
            of_best.append(best in pair)
    return any(p <= LEVEL for p, best in zip(holm(p_values), of_best, strict=True) if best)


def rows_only(a: Sample, b: Sample) -> float:
    """Return the p-value of the difference between the given trained models, by a normal approximation."""
    change = a.shares.mean(0) - b.shares.mean(0)
    error = float(np.sqrt((change**2).sum()))
    return float(2 * stats.norm.sf(abs(change.sum()) / error)) if error else 1.0


def outcomes(sets: Sequence[Floats], seeds: int) -> Iterator[list[float]]:
    """Yield the values of `COLUMNS` for each simulated set of `row_shares` (methods, seeds, rows)."""
    tables = [[make_sample(one[:seeds]) for one in shares] for shares in sets]
    for number, column in enumerate(tables):
        better, others = column[METHODS], [tables[(number + step) % len(tables)][:5] for step in range(8)]
        pair, gained = compare_pairs(column[:2])[0, 1], compare_pairs([column[0], better])[0, 1]
        nine = compare_pairs([*column[: METHODS - 1], better])
        corrected = dict(zip(nine, holm([one.p for one in nine.values()]), strict=True))
        shifted = replace(pair, value=pair.value + 1)
        yield [
            rows_only(*column[:2]) <= LEVEL,
            *(marked([column[:methods]]) for methods in (2, 5, METHODS)),
            *(marked(others[:tasks]) for tasks in (3, 8)),
            pair.interval[0] <= 0 <= pair.interval[1],
            shifted.p_equivalent(1.0) <= LEVEL,
            rows_only(column[0], better) <= LEVEL,
            gained.p <= LEVEL and gained.value < 0,
            float(np.mean([corrected[one, METHODS - 1] <= LEVEL for one in range(METHODS - 1)])),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=400, help="simulated test sets for each setting")
    sets: int = parser.parse_args().sets
    found: dict[tuple[str, int, float, int], Floats] = {}
    head = f"{'metric':<14}{'examples':>9}{'sd':>5}{'seeds':>6} | "
    print(head + " ".join(f"{name:>11}" for name in COLUMNS))
    for kind, rows, sd in product(KINDS, (138, 522, 872), (0.0, 0.5, 1.0, 2.0)):
        if kind == "correlations" and rows > 522:
            continue  # the time of a jackknife of ranks grows quadratically with the rows
        rng = np.random.default_rng([[*KINDS].index(kind), rows, int(10 * sd)])
        shares = []
        for _ in range(sets):
            runs = simulate(rng, kind, rows=rows, seed_sd=sd)
            flat = row_shares([one for of_method in runs for one in of_method], KINDS[kind][0])
            shares.append(flat.reshape(METHODS + 1, SEEDS, rows))
        for seeds in (1, 2, 3, 5) if sd == 0 else (2, 3, 5):  # with one seed, the test is about the trained models
            found[kind, rows, sd, seeds] = np.mean([*outcomes(shares, seeds)], axis=0)
            print_line(f"{kind:<14}{rows:>9}{sd:>5}{seeds:>6}", found[kind, rows, sd, seeds])
    print("\nmean over metrics and numbers of examples")
    for sd, seeds in sorted({(sd, seeds) for _, _, sd, seeds in found}):
        values = [one for (_, _, own_sd, own), one in found.items() if (own_sd, own) == (sd, seeds)]
        print_line(f"{'':<23}{sd:>5}{seeds:>6}", np.mean(values, axis=0))


def print_line(name: str, values: Floats) -> None:
    print(f"{name} | " + " ".join(f"{value:>11.3f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
