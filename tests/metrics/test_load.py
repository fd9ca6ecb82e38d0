"""Test the local `evaluate` metric: offline, in parallel, and equal to the plain function."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from krona import metrics
from krona.metrics.scores import score


@dataclass(frozen=True)
class Scored:
    name: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...] | None

    def target_strings(self) -> list[str] | None:
        return None if self.labels is None else list(self.labels)


@pytest.mark.parametrize(
    ("task", "truth", "answers"),
    [
        (Scored("mrpc", ("f1", "accuracy"), ("0", "1")), ["0", "1", "1", "0"], ["0", "1", "no", "1"]),
        (Scored("stsb", ("pearson", "spearman"), None), ["0.0", "1.5", "4.0"], ["0.2", "x", "3.0"]),
        (Scored("stars", ("macro_f1", "matthews"), ("0", "1", "2")), ["0", "1", "2"], ["0", "2", "2"]),
    ],
)
def test_the_metric_scores_as_the_function_does(task: Scored, truth: list[str], answers: list[str]) -> None:
    metric = metrics.load(task)
    expected = score(task.metrics, truth, answers, task.target_strings())
    assert metric(truth, answers) == expected
    assert metric(truth[:2], answers[:2]) != {}  # a second call starts without earlier predictions
    assert metric(truth, answers) == expected


@pytest.mark.slow
def test_processes_load_it_at_the_same_time_without_network(tmp_path: Path) -> None:
    code = """
import warnings; warnings.simplefilter("error")
from krona import metrics
class Task:
    name, metrics = "rte", ("accuracy",)
    def target_strings(self): return ["0", "1"]
for _ in range(5):
    assert metrics.load(Task())(["0", "1"], ["0", "0"]) == {"accuracy": 50.0}
"""
    env = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "PATH": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=90)[1] for process in running]  # all, to close every file
    assert [process.returncode for process in running] == [0, 0], said
