"""Test the local `evaluate` metric: offline, in parallel, and equal to the plain function."""

import subprocess
import sys
from pathlib import Path

import pytest

from krona.metrics import label_scores
from krona.metrics.scores import score


@pytest.mark.parametrize(
    ("names", "labels", "truth", "answers"),
    [
        (["f1", "accuracy"], ["0", "1"], ["0", "1", "1", "0"], ["0", "1", "no", "1"]),
        (["pearson", "spearman"], None, ["0.0", "1.5", "4.0"], ["0.2", "x", "3.0"]),
        (["macro_f1", "matthews"], ["0", "1", "2"], ["0", "1", "2"], ["0", "2", "2"]),
    ],
)
def test_the_metric_scores_as_the_function_does(
    names: list[str], labels: list[str] | None, truth: list[str], answers: list[str]
) -> None:
    assert label_scores.compute(names, truth, answers, labels) == score(names, truth, answers, labels)


@pytest.mark.slow
def test_processes_load_it_at_the_same_time_without_network(tmp_path: Path) -> None:
    code = """
import warnings; warnings.simplefilter("error")
from krona.metrics.label_scores import compute
for _ in range(5):
    assert compute(["accuracy"], ["0", "1"], ["0", "0"], ["0", "1"]) == {"accuracy": 50.0}
"""
    env = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "PATH": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=90)[1] for process in running]  # all, to close every file
    assert [process.returncode for process in running] == [0, 0], said
