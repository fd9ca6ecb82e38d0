"""Test intervals and tests of rows with groups, such as the answers to a question: groups are drawn, not rows."""

import numpy as np
import pytest

from krona.metrics.compare_methods import row_contributions
from krona.metrics.scores import score
from krona.metrics.scores.metric import encode
from krona.metrics.statistics import bootstrap

LABELS = ["0", "1"]
METRICS = ["f1", "exact_match"]


def draw(groups: int, seed: int) -> tuple[list[int], list[str], list[str], list[str]]:
    """Return the group of each row, the targets, and the predictions of two methods."""
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(np.repeat(np.arange(groups), rng.integers(1, 4, groups)))
    targets = [str(value) for value in rng.integers(0, 2, len(numbers))]
    wrong = [set(rng.choice(groups, groups // 2)) for _ in range(2)]  # the rows of a group are often wrong together
    a, b = (
        [
            "x" if group in of_method and rng.random() < 0.8 else target
            for group, target in zip(numbers, targets, strict=True)
        ]
        for of_method in wrong
    )
    return numbers.tolist(), targets, a, b


@pytest.mark.parametrize(("metrics", "labels"), [(METRICS, LABELS), (["spearman", "pearson"], None)])
def test_a_drawn_test_set_contains_whole_groups(metrics: list[str], labels: list[str] | None) -> None:
    numbers, targets, given, _ = draw(30, 0)
    draws = bootstrap([encode(targets, given, labels, numbers)], metrics, draws=4_000)
    rng, plain = np.random.default_rng(1), []
    rows = [[row for row, group in enumerate(numbers) if group == number] for number in range(30)]
    for _ in range(300):
        chosen = [(row, copy) for copy, number in enumerate(rng.integers(0, 30, 30)) for row in rows[number]]
        texts = ([side[row] for row, _ in chosen] for side in (targets, given))
        plain.append(np.mean([*score(metrics, *texts, labels, [copy for _, copy in chosen]).values()]))
    assert draws.mean() == pytest.approx(np.mean(plain), abs=4 * np.std(plain) / np.sqrt(300))
    assert draws.std() == pytest.approx(np.std(plain), rel=0.2)
    single = bootstrap([encode(targets, given, labels)], metrics[:1])
    assert bootstrap([encode(targets, given, labels, numbers)], metrics[:1]).std() > 1.05 * single.std()


@pytest.mark.parametrize("metric", ["accuracy", "exact_match", "f1"])
def test_means_over_groups_of_unequal_size_divide_by_the_drawn_rows(metric: str) -> None:
    """The jackknife and the bootstrap omit and draw whole groups, and the score is a mean over the remaining rows."""
    numbers = [0] * 30 + [*range(1, 31)]
    targets = ["0", "1"] * 30
    assert {*bootstrap([encode(targets, targets, LABELS, numbers)], [metric])} == {100.0}
    given = [target if row % 5 else "1" for row, target in enumerate(targets)]
    (shares,) = row_contributions([encode(targets, given, LABELS, numbers)], [metric])
    without = np.zeros(31)
    for group in range(31):
        kept = [row for row, number in enumerate(numbers) if number != group]
        sides = ([side[row] for row in kept] for side in (targets, given))
        (without[group],) = score([metric], *sides, LABELS, [numbers[row] for row in kept]).values()
    assert 31 * shares.var() == pytest.approx((30 / 31) ** 2 * ((without - without.mean()) ** 2).sum())
