"""Simulate equal methods, and print how often krona's test finds a difference between them.

    python -m benchmarks.calibration                 # about half an hour on one core
    python -m benchmarks.calibration --sets 50       # a quick look

A row has a difficulty. Each method shifts the difficulty of each row, each trained model (a method and a seed) shifts
the difficulty of all rows, and each model has noise on each row. All shifts have mean 0, so all methods are equal over
many rows and seeds. The last method is better by 3 points, and is used only to measure the power. The columns are

- rows: the share of pairs with p ≤ 0.05 if only the variance over rows is used (a test of the given trained models),
- 2, 5, 9: the share of columns of 2, 5 and 9 equal methods in which a method is significantly worse than the best,
- 3 and 8 tasks: the share of tables of five methods with such a method, corrected over all pairs and tasks,
- coverage: the share of 95 % intervals of the difference of two methods that contain the true difference,
- equal: the share of pairs that differ by 1 point but are called equivalent within 1 point, and
- power: the share of tests that detect 3 points, using only the variance over rows, and in columns of 2 and 9 methods.

A second table (`scene`) has other properties of the seeds. Its columns are

- pair: the share of pairs of equal methods with p ≤ 0.05,
- family: the share of columns in which an equal method differs from the reference (Holm over these pairs),
- coverage: the share of 95 % intervals of the differences to the reference that contain the true difference,
- power: the share of tests that detect 3 points between the last two methods, and
- mixed: the same with `benchmarks.mixed_model`.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.mixed_model import fit_mixed_model
from krona.metrics.compare_methods import Sample, compare_pairs, row_contributions
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
SCENES = ("equal", "unequal", "collapse", "subsets", "shared", "unequal numbers")
SCENE_COLUMNS = ("pair", "family", "coverage", "power", "mixed")
COLUMNS = ("rows", "2", "5", "9", "3 tasks", "8 tasks", "coverage", "equal", "power: rows", "power: 2", "power: 9")


def simulate(
    rng: np.random.Generator, kind: str, *, rows: int, seed_sd: float, effects: Floats | float = 0.0
) -> list[list[Answers]]:
    """Return answers of `METHODS` equal methods and one better method, for each method and seed.

    ``effects`` are other shifts in points, which can be different for each method, seed and row.
    """
    metrics, classes, first = KINDS[kind]
    shape = (METHODS + 1, SEEDS, rows)
    better = GAIN * (np.arange(METHODS + 1) == METHODS)[:, None, None]
    points = better + rng.normal(0, seed_sd, (METHODS + 1, SEEDS, 1)) + effects
    shift = METHOD_SD * rng.normal(size=(METHODS + 1, 1, rows)) + NOISE_SD * rng.normal(size=shape)
    shift = shift + rng.normal(size=rows)
    spread = np.sqrt(1 + METHOD_SD**2 + NOISE_SD**2)
    if not classes:  # the error has the standard deviation that gives the correlation
        truth = rng.normal(size=rows)
        r = CORRELATION + points / 100
        given = truth + shift / spread * np.sqrt(1 / r**2 - 1)
        return [[Answers(truth, one, 0) for one in seeds] for seeds in given]
    share = {"f1": 2 * (1 - first), "matthews": 2 * first * (1 - first)}.get(metrics[0], 1.0)
    # The expected accuracy is linear in the points. Otherwise, a method with a larger variance would have a lower mean.
    expected = np.clip(ACCURACY + share * points / 100, 0.01, 0.99)
    right = stats.norm.ppf(expected) * spread + shift > 0
    labels = rng.choice(classes, rows, p=[first, *[(1 - first) / (classes - 1)] * (classes - 1)])
    wrong = (labels + rng.integers(1, classes, shape)) % classes
    given = np.where(right, labels, wrong)
    return [[Answers(labels, one, classes) for one in seeds] for seeds in given]


def make_sample(shares: Floats) -> Sample:
    """Return the sample of a method with the seeds 0, 1, …, from its `row_contributions` (seeds, rows)."""
    return Sample(shares, tuple(range(len(shares))))


def marked(samples: Iterable[Sequence[Sample]]) -> bool:
    """Return whether, in a table with these columns, a method is significantly worse than the best of its column."""
    found, p_values, of_best = [*samples], list[float](), list[bool]()
    for column in found:
        best = max(range(len(column)), key=lambda place: column[place].contributions.sum())
        for pair, one in compare_pairs(column).items():
            p_values.append(one.p)
            of_best.append(best in pair)
    return any(p <= LEVEL for p, best in zip(holm(p_values), of_best, strict=True) if best)


def rows_only(a: Sample, b: Sample) -> float:
    """Return the p-value of the difference between the given trained models, by a normal approximation."""
    change = a.contributions.mean(0) - b.contributions.mean(0)
    error = float(np.sqrt((change**2).sum()))
    return float(2 * stats.norm.sf(abs(change.sum()) / error)) if error else 1.0


def outcomes(sets: Sequence[Floats], seeds: int) -> Iterator[list[float]]:
    """Yield the values of `COLUMNS` for each simulated set of `row_contributions` (methods, seeds, rows)."""
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


def scene(rng: np.random.Generator, name: str, seeds: int) -> list[Sample]:
    """Return the samples of four equal methods and a better one on 872 rows, scored by accuracy.

    The models have a standard deviation of 1 point over seeds. In addition: with "unequal", the first method has 3
    points and the others have 0.3; with "collapse", the first method loses 30 points with its first seed; with
    "subsets", each model shifts a fifth of the rows by a standard deviation of 10 points; with "shared" and "unequal
    numbers", each seed has an effect of 1 point on all methods; with "unequal numbers", the second and the last method
    have two seeds less.
    """
    shape = (METHODS + 1, SEEDS, 1)
    sds = np.full(METHODS + 1, 1.0)
    if name == "unequal":
        sds = np.where(np.arange(METHODS + 1) == 0, 3.0, 0.3)
    effects = rng.normal(size=shape) * sds[:, None, None]
    if name == "collapse":
        effects[0, 0] -= 30
    elif name == "subsets":
        effects = effects + rng.normal(0, 10, shape) * (rng.random((METHODS + 1, SEEDS, 872)) < 0.2)
    elif name in ("shared", "unequal numbers"):
        effects = effects + rng.normal(size=(1, SEEDS, 1))
    runs = simulate(rng, "accuracy", rows=872, seed_sd=0.0, effects=effects)
    numbers = [seeds - 2 * (name == "unequal numbers" and place in (1, 4)) for place in range(5)]
    places = (0, 1, 2, 3, METHODS)
    return [
        make_sample(row_contributions(runs[place][:number], ["accuracy"]))
        for place, number in zip(places, numbers, strict=True)
    ]


def scene_outcome(samples: list[Sample], *, collapsed: bool) -> list[float]:
    """Return the values of `SCENE_COLUMNS`. The first method is the reference, or the second if the first collapsed."""
    found = compare_pairs(samples)
    reference = int(collapsed)
    pairs = {pair: one for pair, one in found.items() if reference in pair and not (collapsed and 0 in pair)}
    equal = [one for (_, other), one in pairs.items() if other < 4]
    covered = [one.interval[0] <= -GAIN * (pair[1] == 4) <= one.interval[1] for pair, one in pairs.items()]
    mixed = fit_mixed_model(samples, (3, 4))
    return [
        float(np.mean([one.p <= LEVEL for one in equal])),
        min(holm([one.p for one in equal])) <= LEVEL,
        float(np.mean(covered)),
        found[3, 4].p <= LEVEL and found[3, 4].value < 0,
        mixed.p <= LEVEL and mixed.value < 0,
    ]


def print_scenes(sets: int) -> None:
    print(f"\n{'scene':<18}{'seeds':>6} | " + " ".join(f"{name:>9}" for name in SCENE_COLUMNS))
    for seeds, name in product((3, 5), SCENES):
        if name == "unequal numbers" and seeds == 3:
            continue
        rng = np.random.default_rng([SCENES.index(name), seeds])
        found = [scene_outcome(scene(rng, name, seeds), collapsed=name == "collapse") for _ in range(sets)]
        print(f"{name:<18}{seeds:>6} | " + " ".join(f"{value:>9.3f}" for value in np.mean(found, axis=0)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=400, help="simulated test sets for each setting")
    parser.add_argument("--scenes", action="store_true", help="only the comparison with a mixed model")
    given = parser.parse_args()
    sets: int = given.sets
    if given.scenes:
        return print_scenes(sets)
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
            flat = row_contributions([one for of_method in runs for one in of_method], KINDS[kind][0])
            shares.append(flat.reshape(METHODS + 1, SEEDS, rows))
        for seeds in (1, 2, 3, 5) if sd == 0 else (2, 3, 5):  # with one seed, the test is about the trained models
            found[kind, rows, sd, seeds] = np.mean([*outcomes(shares, seeds)], axis=0)
            print_line(f"{kind:<14}{rows:>9}{sd:>5}{seeds:>6}", found[kind, rows, sd, seeds])
    print("\nmean over metrics and numbers of examples")
    for sd, seeds in sorted({(sd, seeds) for _, _, sd, seeds in found}):
        values = [one for (_, _, own_sd, own), one in found.items() if (own_sd, own) == (sd, seeds)]
        print_line(f"{'':<23}{sd:>5}{seeds:>6}", np.mean(values, axis=0))
    print_scenes(sets)
    return None


def print_line(name: str, values: Floats) -> None:
    print(f"{name} | " + " ".join(f"{value:>11.3f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
