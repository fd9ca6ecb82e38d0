"""Test the tables of classes, confusions, residuals and slices of `krona show`."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from krona.cli.run_details import answer_tables
from krona.metrics.scores.metric import encode
from krona.metrics.statistics import bootstrap, percentile_interval
from krona.report.build import collect
from krona.runs.folder import RunFolder
from krona.runs.predictions import read_split, slice_scores
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


def test_scores_and_confusions_are_those_of_scikit_learn(outputs: Path) -> None:
    (table,) = collect(outputs).tables
    one, *_ = table.cell("krona", "tickets").answers
    (_, scores), (_, counts) = answer_tables(one, [*LABELS])
    labels = [0, 1, 2]
    expected = np.array(precision_recall_fscore_support(one.targets, one.predictions, labels=labels)[:3])
    shown = scores[["precision", "recall", "F1"]][:3].astype(float).to_numpy()
    assert shown == pytest.approx(100 * expected.T, abs=0.005)  # two decimals are shown
    macro = scores[scores.label == "macro average"].iloc[0]
    assert float(macro.F1) == pytest.approx(100 * expected[2].mean(), abs=0.005)
    assert [*scores.label[:3]] == [*LABELS]
    matrix = confusion_matrix(one.targets, one.predictions, labels=labels)
    assert counts[[*LABELS]].astype(int).to_numpy() == pytest.approx(matrix)


def test_slices_have_the_mean_score_of_the_runs_with_its_interval(outputs: Path) -> None:
    (table,) = collect(outputs).tables
    cell = table.cell("krona", "tickets")
    rows = [read_split(RunFolder(run.path.parent), "test") for run in cell.runs]
    found = [*slice_scores(cell.runs[0].result, rows, "language")]
    assert [(name, count) for name, count, *_ in found] == [(name, 45) for name in LANGUAGES]
    german = [
        encode([*map(str, one.targets[::2])], [*map(str, one.predictions[::2])], ["0", "1", "2"])
        for one in cell.answers
    ]
    score = 100 * np.mean([one.targets == one.predictions for one in german])
    assert found[0][2:] == pytest.approx((score, *percentile_interval(bootstrap(german, ["accuracy"]))))
