"""Test metrics of probabilities against scikit-learn, and their intervals and tests against repeated rows."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from krona.metrics.compare_methods import row_contributions
from krona.metrics.scores import METRICS, get_metric, score, score_answers
from krona.metrics.scores.metric import Answers, Metric
from krona.metrics.statistics import bootstrap

NAMES = [name for name, metric in METRICS.items() if metric.of_probabilities and metric.fits(2)]


def library_score(name: str, truth: Any, shares: Any) -> float:
    """Return a value of scikit-learn. A class that is absent, or the only class, is not part of a mean over classes."""
    classes = shares.shape[1]
    hot = np.eye(classes)[truth]
    counted = [1] if classes == 2 else range(classes)
    if name == "log_loss":
        return float(reference.log_loss(truth, shares, labels=range(classes)))
    mixed = [k for k in counted if 0 < hot[:, k].sum() < len(truth)]
    return 100 * float(np.mean([reference.roc_auc_score(hot[:, k], shares[:, k]) for k in mixed] or [0.5]))


def case(seed: int) -> tuple[Any, Any]:
    """Return the targets and probabilities of random rows: ties, absent classes, and rows of one class."""
    rng = np.random.default_rng(seed)
    classes, rows = int(rng.integers(2, 6)), int(rng.integers(1, 60))
    present = rng.permutation(classes)[: rng.integers(1, classes + 1)]
    truth = rng.choice(present, rows)
    shares = rng.dirichlet(np.full(classes, 0.5), rows)
    if seed % 3 == 0:  # probabilities with ties
        shares = rng.multinomial(4, np.full(classes, 1 / classes), rows) / 4
    return truth, shares


@pytest.mark.parametrize("name", NAMES)
def test_200_random_cases_are_scikit_learns(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of a single class
        for seed in range(200):
            truth, shares = case(seed)
            labels = [str(k) for k in range(shares.shape[1])]
            found = score([name], [*map(str, truth)], [*map(str, truth)], labels, scores=shares.tolist())
            assert found[name] == pytest.approx(library_score(name, truth, shares), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_a_row_without_probabilities_is_wrong(name: str, unknown: float | None) -> None:
    truth, shares = case(5)
    classes, texts = shares.shape[1], [*map(str, truth)]
    given: Any = shares.tolist()
    given[0][1] = unknown
    shares[0] = 1 / (classes - 1)
    shares[0, truth[0]] = 0
    labels = [str(k) for k in range(classes)]
    assert score([name], texts, texts, labels, scores=given) == score([name], texts, texts, labels, scores=shares)


@pytest.mark.parametrize("scores", [None, [[0.5, 0.5]], [[1.0], [0.0]], [[1.5, -0.5], [0.5, 0.5]]])
def test_probabilities_that_are_missing_or_wrong_are_an_error(scores: Any) -> None:
    with pytest.raises(ValueError, match=r"probabilit|cannot be paired"):
        score(["roc_auc"], ["0", "1"], ["0", "1"], ["0", "1"], scores=scores)


def runs(classes: int, *, groups: bool = False) -> list[Answers]:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, 40)
    draws = [rng.dirichlet(np.ones(classes), 40) * 0.6 + 0.4 * np.eye(classes)[truth] for _ in range(3)]
    of_rows = rng.integers(0, 12, 40) if groups else None
    if of_rows is not None:
        of_rows[:12] = np.arange(12)
    return [Answers(truth, one.argmax(1), classes=classes, groups=of_rows, probabilities=one) for one in draws]


def take(run: Answers, rows: list[int]) -> Answers:
    shares = None if run.probabilities is None else run.probabilities[rows]
    return Answers(run.targets[rows], run.predictions[rows], classes=run.classes, probabilities=shares)


def check_redrawn_scores(metric: Metric, found: list[Answers]) -> None:
    """Check the scores of rows with random weights against the scores of repeated rows."""
    rows = len(found[0])
    weights = np.random.default_rng(0).multinomial(rows, [1 / rows] * rows, size=7).astype(float)
    repeated = [[i for i, times in enumerate(row) for _ in range(int(times))] for row in weights]
    for run, scores in zip(found, metric.redrawn_scores(found, weights), strict=True):
        assert scores == pytest.approx([metric.score(take(run, again)) for again in repeated], abs=1e-9)


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_intervals_and_shares_are_those_of_repeated_and_omitted_rows(name: str, classes: int, groups: bool) -> None:
    found = runs(classes, groups=groups)
    units = found[0].groups if groups else np.arange(40)
    assert units is not None
    count = int(units.max()) + 1
    shares = row_contributions(found, [name])
    for run, own in zip(found, shares, strict=True):
        scores = score_answers([name], run)[name]
        without = np.array([score_answers([name], take(run, [i for i in range(40) if units[i] != unit]))[name]
                            for unit in range(count)])  # fmt: skip
        assert own.sum() == pytest.approx(scores, abs=1e-9)
        if not (groups and METRICS[name].linear):  # a linear metric still divides by the number of rows
            effects = (without.mean() - without) * (count - 1) / count
            assert own == pytest.approx(effects + scores / count, abs=1e-9)
    draws = bootstrap(found, [name], draws=400)
    observed = np.mean([score_answers([name], run)[name] for run in found])
    assert draws.shape == (400,)
    assert draws.std() > 0
    assert abs(np.median(draws) - observed) < 3 * draws.std()


@pytest.mark.parametrize("name", [name for name in NAMES if METRICS[name].ranked])
def test_redrawn_scores_are_those_of_repeated_rows(name: str) -> None:
    for classes in (2, 4):
        check_redrawn_scores(get_metric(name, classes), runs(classes))
