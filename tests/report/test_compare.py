"""Test the comparison of predictions row by row against scipy, and its errors."""

import json

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from krona.cli.krona import app
from krona.messages import KronaError
from krona.report.compare import compare, read_predictions
from report.generate import make_result, write_all

ROWS = 200


def read(*sources, metric=None, outputs=None):
    return [
        read_predictions(str(source), outputs, id=None, label=None, prediction=None, metric=metric)
        for source in sources
    ]


def files(folder, shares=(0.9, 0.8)):
    """Write two files as other tools do, with the rows in another order, and return whether each row is right."""
    rng = np.random.default_rng(0)
    labels = rng.choice(["yes", "no"], ROWS)
    right = [(rng.random(ROWS) < share).astype(float) for share in shares]
    first, second = (np.where(hit > 0, labels, np.where(labels == "yes", "no", "yes")) for hit in right)
    lines = [f"{row},{label},{pred}" for row, (label, pred) in enumerate(zip(labels, first, strict=True))]
    (folder / "a.csv").write_text("\n".join(["idx,gold,pred", *lines]))
    rows = [
        {"id": str(row), "label": label, "prediction": pred, "p": 0.5}
        for row, (label, pred) in enumerate(zip(labels, second, strict=True))
    ]
    (folder / "b.jsonl").write_text("\n".join(map(json.dumps, reversed(rows))))
    return right


def check_against_scipy(frame, first, second):
    test = stats.ttest_rel(first, second)
    low, high = test.confidence_interval(0.95)
    (pair,) = frame.itertuples()
    assert pair.difference == pytest.approx(100 * (np.mean(first) - np.mean(second)), abs=1e-9)
    assert (pair.low, pair.high) == pytest.approx((100 * low, 100 * high), abs=1e-9)
    assert pair.p == pytest.approx(test.pvalue, abs=1e-9)
    beyond = [stats.ttest_rel(np.subtract(first, second), np.full(len(first), end / 100), alternative=side).pvalue
              for end, side in ((-5, "greater"), (5, "less"))]  # fmt: skip
    assert pair.p_equivalent == pytest.approx(max(beyond), abs=1e-9)


def test_two_files_of_other_tools_equal_scipys_paired_test(tmp_path):
    right = files(tmp_path)
    check_against_scipy(compare(read(tmp_path / "a.csv", tmp_path / "b.jsonl"), margin=5.0), *right)


def test_samples_of_lm_evaluation_harness_equal_scipys_paired_test(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2, (2, ROWS)).astype(float)
    for name, of_model in zip("ab", values, strict=True):
        rows = [
            {"doc_id": row, "target": "x", "filter": kind, "metrics": ["exact_match"], "exact_match": value}
            for row, value in enumerate(of_model) for kind in ("strict", "flexible")
        ]  # fmt: skip
        (tmp_path / f"samples_{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sources = tmp_path / "samples_a.jsonl", tmp_path / "samples_b.jsonl"
    check_against_scipy(compare(read(*sources, metric="exact_match,strict"), margin=5.0), *values)
    with pytest.raises(KronaError, match=r"has the filters strict, flexible. Choose one"):
        read(*sources)
    rows = [{"doc_id": row, "target": "x", "metrics": ["acc"], "acc": value} for row, value in enumerate(values[0])]
    (tmp_path / "samples_c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    others = [*read(sources[0], metric="exact_match,strict"), *read(tmp_path / "samples_c.jsonl")]
    with pytest.raises(KronaError, match=r"need samples with the same metric .*a.jsonl: exact_match, .*c.jsonl: acc"):
        compare(others)


def test_runs_are_compared_in_the_tasks_metric_with_holm(tmp_path):
    results = [make_result(method, "cola", rows=ROWS) for method in ("krona", "lora", "pa")]
    write_all(tmp_path, results)
    frame = compare(read(*(result.run_id for result in results), outputs=tmp_path))
    assert frame.attrs["metrics"] == ["matthews"]
    assert [*frame.attrs["scores"].values()] == pytest.approx([result.test["score"] for result in results], abs=1e-9)
    assert len(frame) == 3
    assert frame.p_holm.min() == pytest.approx(min(1.0, 3 * frame.p.min()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,label,prediction\n0,yes,yes\n1,no,no\n", "2 ids are in both"),
        ("id,label,prediction\n0,yes,yes\n0,no,no\n", "has an id twice"),
        ("id,label,guess\n0,yes,yes\n", "has no column 'prediction' or 'pred'"),
    ],
)
def test_other_rows_and_missing_columns_are_an_error(text, words, tmp_path):
    files(tmp_path)
    (tmp_path / "c.csv").write_text(text)
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "a.csv"), str(tmp_path / "c.csv")])
    assert isinstance(done.exception, KronaError)
    assert words in str(done.exception)


def test_the_command_prints_scores_pairs_and_what_the_test_is_about(tmp_path):
    files(tmp_path)
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "a.csv"), str(tmp_path / "b.jsonl")])
    shown = " ".join(done.stdout.split())
    assert "The test is about these predictions" in shown
    for words in ("accuracy of 200 rows", "95 % interval", "p (Holm)", "Detectable"):
        assert words in shown
