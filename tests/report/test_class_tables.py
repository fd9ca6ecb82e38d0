"""Test the tables of classes, confusions, residuals and slices of a report."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from krona.metrics.scores.metric import encode
from krona.metrics.statistics import bootstrap, percentile_interval
from krona.report.build import build_report, collect
from krona.report.class_tables import answer_tables, row_tables, slice_tables
from report.generate import make_result, set_answers, write_all

LABELS = {"billing": 0, "bug": 1, "login": 2}
LANGUAGES = ["de", "en"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    task = {"task.labels": LABELS, "task.metrics": ["accuracy"], "task.score": ["accuracy"]}
    results = []
    for method, skill in (("lora", 0.5), ("krona", 0.8)):
        for seed in (0, 1, 2):
            result = make_result(method, "tickets", seed, kind="own", change={**task, "task.slices": ["language"]})
            rng = random.Random(f"{method}{seed}")
            targets = [str(i % 3) for i in range(90)]
            given = [target if rng.random() < skill else rng.choice("012") for target in targets]
            for split in ("dev", "test"):
                set_answers(result, targets, given, split)
            results.append(result)
    for result in write_all(folder, results):
        path = folder / result.run_id / "predictions.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        lines = [json.dumps({**row, "columns": {"language": LANGUAGES[i % 2]}}) for i, row in enumerate(rows)]
        path.write_text("\n".join(lines))
    return folder


def test_scores_and_confusions_are_means_over_seeds_of_those_of_scikit_learn(outputs: Path) -> None:
    (table,) = collect(outputs).tables
    (name, ((_, scores), (_, counts))), *_ = row_tables(table)
    assert name == "KronA on tickets (mean of 3 seeds)"
    answers = table.cell("krona", "tickets").answers
    labels = [0, 1, 2]
    expected = np.mean(
        [precision_recall_fscore_support(one.targets, one.predictions, labels=labels)[:3] for one in answers], axis=0
    )
    shown = scores[["precision", "recall", "F1"]][:3].astype(float).to_numpy()
    assert shown == pytest.approx(100 * expected.T, abs=0.005)  # two decimals are shown
    macro = scores[scores.label == "macro average"].iloc[0]
    assert float(macro.F1) == pytest.approx(100 * expected[2].mean(), abs=0.005)
    assert [*scores.label[:3]] == [*LABELS]
    matrix = np.mean([confusion_matrix(one.targets, one.predictions, labels=labels) for one in answers], axis=0)
    assert counts[[*LABELS]].astype(float).to_numpy() == pytest.approx(matrix, abs=0.05)


def test_slices_have_the_mean_score_of_each_row_with_its_interval(outputs: Path) -> None:
    (table,) = collect(outputs).tables
    ((title, frame),) = slice_tables(table)
    assert title == "tickets by language"
    assert [*frame.columns] == ["language", "rows", "KronA", "LoRA"], "the best row is first"
    assert [*frame.language] == LANGUAGES
    assert [*frame.rows] == ["45", "45"]
    answers = table.cell("krona", "tickets").answers
    german = [
        encode([*map(str, one.targets[::2])], [*map(str, one.predictions[::2])], ["0", "1", "2"]) for one in answers
    ]
    score = 100 * np.mean([one.targets == one.predictions for one in german])
    low, high = percentile_interval(bootstrap(german, ["accuracy"]))
    assert frame.KronA[0] == f"{score:.2f} [{low:.1f}, {high:.1f}]"


def test_the_page_has_the_tables_folded(outputs: Path) -> None:
    page = build_report(outputs, format="html")
    for summary in ("Scores of each class, and confused classes", "Scores on tickets by language"):
        assert f"<details><summary>{summary}</summary>" in page
    assert "Confusion matrix (a row for each target, a column for each prediction)" in page


def test_the_task_file_can_name_slices_after_the_runs(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "tickets.yaml").write_text("slices: source\n")
    monkeypatch.chdir(tmp_path)
    (table,) = collect(outputs).tables
    assert [title for title, _ in slice_tables(table)] == ["tickets by language", "tickets by source"]


def test_a_missing_column_of_slices_is_a_message(tmp_path: Path) -> None:
    write_all(tmp_path, [make_result("lora", "rte", change={"task.slices": ["language"]})])
    (table,) = collect(tmp_path).tables
    ((_, frame),) = slice_tables(table)
    assert "have no column 'language'" in frame.iloc[0, 0]


def test_a_regression_has_its_errors() -> None:
    answers = [encode(["1.0", "2.0"], given, None) for given in (["0.5", "2.0"], ["1.0", "3.5"])]
    ((title, frame),) = answer_tables(answers, [])
    assert title == "prediction − target"
    assert float(frame["mean"][0]) == pytest.approx((-0.25 + 0.75) / 2)
    assert float(frame["mean absolute"][0]) == pytest.approx((0.25 + 0.75) / 2)
