"""Test that both implementations of every metric give the same score, also for unusual predictions.

The test covers a new metric as soon as its file exists.
"""

import random

import numpy as np
import pytest

from krona.metrics import scores
from krona.metrics.answers import encode
from krona.metrics.scores import METRICS, compute_sums, score_by_sums
from krona.metrics.scores.spearman import redrawn_scores
from krona.metrics.statistics import predicted_values

STRANGE = ["", "maybe", " 1 ", "0", "nan", "-1", "2.5.1"]
FITTING = [(name, kind) for name, metric in METRICS.items()
           for kind in ((0,) if metric.of_numbers else (2, 3)) if metric.classes in (None, kind)]  # fmt: skip


def strings(kind, n, seed):
    rng = random.Random(seed)
    pool = {2: ["0", "1"], 3: ["0", "1", "2"], 0: [f"{i / 10:.1f}" for i in range(51)]}[kind]
    targets = [rng.choice(pool) for _ in range(n)]
    predictions = [t if rng.random() < 0.6 else rng.choice(pool + STRANGE) for t in targets]
    return targets, predictions, (pool if kind else None)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_the_sums_give_the_librarys_score(name, kind, seed):
    targets, predictions, labels = strings(kind, 90, seed)
    expected = scores.score([name], targets, predictions, labels)
    assert score_by_sums([name], encode(targets, predictions, labels)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("constant", ["0", "1", "rubbish"])
@pytest.mark.parametrize(("name", "kind"), [pair for pair in FITTING if pair[1] != 3])
def test_constants_score_as_in_glue(name, kind, constant):
    targets, labels = ["0", "1", "1", "0", "1"], ["0", "1"] if kind else None
    expected = scores.score([name], targets, [constant] * 5, labels)
    assert score_by_sums([name], encode(targets, [constant] * 5, labels)) == pytest.approx(expected, abs=1e-9)


def test_the_six_metrics_are_found_and_one_file_adds_a_seventh(tmp_path, monkeypatch):
    assert list(METRICS) == ["accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman"]
    same = "from krona.metrics.scores.accuracy import METRIC\n"
    (tmp_path / "exact_match.py").write_text(same)
    monkeypatch.setattr(scores, "__path__", [*scores.__path__, str(tmp_path)])
    assert scores.find_metrics()["exact_match"] is METRICS["accuracy"]


def test_a_constant_that_does_not_round_well_has_no_correlation():
    targets = [str(i / 10) for i in range(30)]
    assert score_by_sums(["pearson"], encode(targets, ["0.1"] * 30, None)) == {"pearson": 0.0}


def test_spearman_of_weighted_examples_is_that_of_repeated_ones():
    targets, predictions, _ = strings(0, 40, 1)
    weights = np.random.default_rng(0).multinomial(40, [1 / 40] * 40, size=3).astype(float)
    for row, got in zip(weights, redrawn_scores([encode(targets, predictions, None)], weights)[0], strict=True):
        again = [i for i, times in enumerate(row) for _ in range(int(times))]
        expected = scores.score(["spearman"], [targets[i] for i in again], [predictions[i] for i in again], None)
        assert got == pytest.approx(expected["spearman"], abs=1e-9)


def test_many_distinct_numbers_are_merged_and_stay_close():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=3000)
    answers = encode([str(round(x, 5)) for x in truth], [str(round(x, 5)) for x in truth + rng.normal(size=3000)], None)
    (merged,) = compute_sums("spearman", [answers], predicted_values([answers]))
    assert merged.features.shape == (3000, 512)
    assert float(merged.value(merged.features.sum(0))) == pytest.approx(
        score_by_sums(["spearman"], answers)["spearman"], abs=0.1
    )


@pytest.mark.parametrize("predictions", [["0", "1", "1"], ["0", "", "11"], ["0", " ", "x"], ["0", "é", "1 "]])
def test_one_character_labels_and_others_are_read_alike(predictions):
    expected = [{"0": 0, "1": 1}.get(text.strip(), -1) for text in predictions]
    assert encode(["0", "1", "1"], predictions, ["0", "1"]).given.tolist() == expected
    assert encode(["10", "1", "1"], ["10", "2", "1"], ["1", "10"]).given.tolist() == [1, -1, 0]
