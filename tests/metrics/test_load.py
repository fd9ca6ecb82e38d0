"""Test the metrics as modules of `evaluate`: without krona or a network, and equal to the plain function."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from krona.metrics.scores import METRICS, score, score_by_evaluate

TWO = ["0", "1"]


@pytest.mark.parametrize(
    ("names", "labels", "truth", "answers"),
    [
        (["f1", "accuracy"], ["0", "1"], ["0", "1", "1", "0"], ["0", "1", "no", "1"]),
        (["pearson", "spearman"], None, ["0.0", "1.5", "4.0"], ["0.2", "x", "3.0"]),
        (["macro_f1", "matthews"], ["0", "1", "2"], ["0", "1", "2"], ["0", "2", "2"]),
        (["exact_match"], ["0", "1"], ["0", "1", "1"], ["0", "1", "0"]),
    ],
)
def test_the_modules_score_as_the_function_does(
    names: list[str], labels: list[str] | None, truth: list[str], answers: list[str]
) -> None:
    for groups in (None, [4, 9, 9, 4][: len(truth)]):
        assert score_by_evaluate(names, truth, answers, labels, groups) == score(names, truth, answers, labels, groups)


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_evaluate_loads_the_metrics_without_krona_and_without_a_network(count: int, tmp_path: Path) -> None:
    files = {name: inspect.getfile(type(metric)) for name, metric in METRICS.items()}
    code = f"""
import sys, warnings; warnings.simplefilter("error"); sys.modules["krona"] = None
import evaluate
loaded = {{name: evaluate.load(file) for name, file in {files}.items()}}
for _ in range(2):
    for name, metric in loaded.items():
        numbers = name in ("pearson", "spearman")
        labels = None if numbers else ["0", "1"]
        print(metric.compute(references=list("011"), predictions=["0", "1", "2" if numbers else "0"], labels=labels))
try:
    loaded["f1"].compute(references=list("01"), predictions=list("01"), labels=list("012"))
except ValueError as error:
    print(error)
"""
    env = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "PATH": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    running = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    printed = [process.communicate(timeout=90) for process in running]  # all, to close every file
    assert [process.returncode for process in running] == [0] * count, printed
    expected = [
        score(
            [name], ["0", "1", "1"], ["0", "1", "2" if metric.of_numbers else "0"], None if metric.of_numbers else TWO
        )
        for name, metric in METRICS.items()
    ]
    for out, _ in printed:
        *lines, error = out.splitlines()
        assert [eval(line) for line in lines[: len(METRICS)]] == expected
        assert lines[: len(METRICS)] == lines[len(METRICS) :]
        assert error == "The metric 'f1' cannot score 3 classes."
