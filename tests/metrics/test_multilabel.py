"""Test the metrics of multi-label tasks against scikit-learn, with invalid predictions as all labels that are wrong."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, classification_report, f1_score, roc_auc_score

from krona.metrics.class_scores import class_scores
from krona.metrics.compare_methods import row_contributions
from krona.metrics.scores import get_metric, score, score_answers
from krona.metrics.scores.metric import Answers, encode
from krona.metrics.statistics import bootstrap
from metrics.test_class_scores import check_class_scores
from metrics.test_probabilities import check_redrawn_scores, take

NAMES = ["micro_f1", "macro_f1", "subset_accuracy"]
RANKED = ["roc_auc", "micro_roc_auc"]


def as_text(row: np.ndarray) -> str:
    return " ".join(map(str, np.flatnonzero(row))) or "none"


def draw(case: int) -> tuple[list[str], list[str], list[str], np.ndarray, np.ndarray]:
    """Return labels, targets and predictions as texts and as matrices: with absent labels, one label, or no label."""
    rng = np.random.default_rng(case)
    classes, rows = int(rng.integers(2, 9)), int(rng.integers(1, 60))
    truth, given = (rng.random((rows, classes)) < rng.random(classes) ** 2 for _ in range(2))
    match case % 4:
        case 1:
            truth[:, 1:] = given[:, 1:] = False  # one label
        case 2:
            given = truth.copy()
        case 3:
            truth[:, 0], given[:] = False, False
    targets, predictions = [*map(as_text, truth)], [*map(as_text, given)]
    for row in np.flatnonzero(rng.random(rows) < 0.2):
        match case % 5:
            case 3:
                predictions[row], given[row] = str(rng.choice(["nan", "", "0 nan", "none 0", "99"])), ~truth[row]
            case 4:
                predictions[row] = " ".join([*reversed(predictions[row].split()), predictions[row].split()[0]])
                predictions[row] = "none" if "none" in predictions[row] else predictions[row]
    return [str(label) for label in range(classes)], targets, predictions, truth.astype(int), given.astype(int)


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_scores_are_those_of_scikit_learn(first: int) -> None:
    for case in range(first, first + 50):
        labels, targets, predictions, truth, given = draw(case)
        theirs = {f"{kind}_f1": f1_score(truth, given, average=kind, zero_division=0) for kind in ("micro", "macro")}
        theirs["subset_accuracy"] = accuracy_score(truth, given)
        ours = score(NAMES, targets, predictions, labels, multilabel=True)
        assert ours == pytest.approx({name: 100 * value for name, value in theirs.items()}, abs=1e-10)  # in points
        scores = class_scores(encode(targets, predictions, labels, multilabel=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about labels without targets
            report = classification_report(truth, given, output_dict=True, zero_division=0)
        assert [*map(str, scores.ids)] == labels
        check_class_scores(scores, report)


def test_resampled_test_sets_have_the_scores_of_their_rows() -> None:
    labels, targets, predictions, truth, given = draw(0)
    answers = encode(targets, predictions, labels, multilabel=True)
    rng = np.random.default_rng(1)
    for name in NAMES:
        draws = bootstrap([answers], [name], draws=4000)
        own = []
        for _ in range(1000):
            rows = rng.integers(0, len(truth), len(truth))
            own.append(score_answers([name], Answers(truth[rows], given[rows], classes=len(labels)))[name])
        # the mean and the deviation of 1,000 draws have relative errors of about 1 / sqrt(1000) of the deviation
        assert np.mean(draws) == pytest.approx(np.mean(own), abs=0.2 * np.std(own))
        assert np.std(draws) == pytest.approx(np.std(own), rel=0.2)
    assert row_contributions([answers], NAMES).shape == (1, len(truth))


def probabilities(case: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(case)
    return rng.integers(0, 5, shape) / 4 if case % 3 == 0 else rng.random(shape)  # with ties, or without


def test_ranks_of_probabilities_are_those_of_scikit_learn() -> None:
    means = 0
    for case in range(200):
        labels, targets, predictions, truth, _ = draw(case)
        shares = probabilities(case, truth.shape)
        ours = score(RANKED, targets, predictions, labels, scores=shares.tolist(), multilabel=True)
        present = [k for k in range(len(labels)) if truth[:, k].any()]
        mixed = [k for k in present if not truth[:, k].all()]
        # As for one label per row: a mean over the labels with examples, and 50 without such a label.
        theirs = {
            "roc_auc": roc_auc_score(truth[:, mixed], shares[:, mixed], average="macro") if mixed else 0.5,
            "micro_roc_auc": roc_auc_score(truth, shares, average="micro") if 0 < truth.mean() < 1 else 0.5,
        }
        assert ours == pytest.approx({name: 100 * value for name, value in theirs.items()}, rel=1e-12, abs=1e-12)
        means += len(mixed) == len(labels)
    assert means > 20, "cases without absent labels"


def test_a_row_without_a_probability_is_wrong_for_each_label() -> None:
    labels, targets, predictions, truth, _ = draw(0)
    shares: list[list[float | None]] = probabilities(1, truth.shape).tolist()
    wrong = [[*map(float, 1 - truth[0])], *shares[1:]]
    shares[0][1] = None
    found = [score(RANKED, targets, predictions, labels, scores=own, multilabel=True) for own in (shares, wrong)]
    assert found[0] == found[1]


def test_resampled_ranks_are_those_of_repeated_and_omitted_rows() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (12, 3))
    runs = [Answers(truth, truth, classes=3, probabilities=np.round(rng.random((12, 3)), 1)) for _ in range(2)]
    for name in RANKED:
        check_redrawn_scores(get_metric(name, 3, multilabel=True), runs)
        for run, shares in zip(runs, row_contributions(runs, [name]), strict=True):
            without = [score_answers([name], take(run, [j for j in range(12) if j != i]))[name] for i in range(12)]
            effects = (np.mean(without) - without) * 11 / 12
            assert shares == pytest.approx(effects + score_answers([name], run)[name] / 12, abs=1e-9)


def test_a_metric_for_one_label_per_row_is_refused_and_named() -> None:
    with pytest.raises(
        ValueError, match=r"'f1' is for 2 classes, one per row, but .* has several labels per row .*kind"
    ):
        score(["f1"], ["0"], ["0"], ["0", "1"], multilabel=True)
    with pytest.raises(ValueError, match=r"'micro_f1' is for several labels per row .*, but the task has 2 classes"):
        score(["micro_f1"], ["0"], ["0"], ["0", "1"])
