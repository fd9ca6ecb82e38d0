"""Generate the tables of docs/claims.md on pretrained encoders, from the predictions of scripts/real_scores.py."""

import base64
import json
import zlib
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from krona.labels import TASK_LABELS
from krona.metrics.power import detectable_difference
from krona.metrics.scores import score_answers
from krona.metrics.scores.metric import Answers, encode
from krona.metrics.statistics import SwapTest, holm, swap_test

RESULTS = Path(__file__).resolve().parents[1] / "results"
BLOCKS = ("mpnet_cola", "minilm_cola", "minilm_rte", "minilm_sst2", "mpnet_rte")  # of scripts/real_scores.py
SCORES = {"cola": "matthews", "rte": "accuracy", "sst2": "accuracy"}
COMPARED = (
    ("krona", "lora"), ("krona_only", "lora_only"), ("krona", "full"), ("lora", "full"), ("krona", "krona_only"),
    ("lora", "lora_only"), ("krona", "layer_norm"), ("lora", "layer_norm"), ("krona_b", "krona"),
    ("krona_b", "krona_b_only"),
)  # fmt: skip
SEEDS = 3
LONGER = {  # single runs that explain the score of full fine-tuning on CoLA: from the block to its label on the page
    "minilm_cola_long": "MiniLM, 10 epochs",
    "mpnet_cola_long": "MPNet, 4 epochs",
    "mpnet_cola_half": "every second layer of MPNet, 4 epochs",
}


@dataclass(frozen=True)
class Method:
    """The runs of one method on one task with one backbone, at the learning rate that dev chose, in the order of seeds.

    Args:
        runs: the records of docs/results/real-scores-*.json.
        trials: the number of learning rates that were tried.
        dev, test: targets and predictions of each run.
    """

    runs: list[dict[str, Any]]
    trials: int
    dev: list[Answers]
    test: list[Answers]

    def scores(self, split: str) -> list[float]:
        """Return each run's Matthews correlation or accuracy (0-100), computed from its predictions."""
        metric = SCORES[self.runs[0]["task"]]
        return [score_answers([metric], answers)[metric] for answers in getattr(self, split)]


def read_runs(block: str) -> list[dict[str, Any]]:
    file = RESULTS / f"real-scores-{block}.json"
    return list(json.loads(file.read_text(encoding="utf-8"))["runs"]) if file.exists() else []


@cache
def block_methods(block: str) -> dict[str, Method]:
    """Return a dict from each method's label in a block of scripts/real_scores.py to its runs."""
    by_label: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in read_runs(block):
        by_label[run["label"]].append(run)
    found = {}
    for label, runs in by_label.items():
        by_rate: dict[float, list[dict[str, Any]]] = defaultdict(list)
        for run in sorted(runs, key=lambda run: run["seed"]):
            by_rate[run["lr"]].append(run)
        best = max(sorted(by_rate), key=lambda rate: by_rate[rate][0]["dev"]["score"])  # with seed 0
        chosen = by_rate[best]
        if len(chosen) == SEEDS:
            splits = [[_answers(run[split]) for run in chosen] for split in ("dev", "test")]
            found[label] = Method(chosen, len(by_rate), *splits)
    return found


@cache
def encoder_runs() -> dict[tuple[str, str], dict[str, Method]]:
    """Return a dict from backbone and task to a dict from each method's label to its runs."""
    found = {}
    for block in BLOCKS:
        if methods := block_methods(block):
            run = next(iter(methods.values())).runs[0]
            found[run["backbone"].rpartition("/")[2], run["task"]] = methods
    return found


def _answers(part: dict[str, Any]) -> Answers:
    packed = (part["outcomes"][name] for name in ("targets", "predictions"))
    return encode(*(zlib.decompress(base64.b64decode(text)).decode().split("\n") for text in packed), ["0", "1"])


def encoders() -> list[str]:
    """Return the scores of pretrained encoders: mean ± standard deviation over three seeds."""
    lines = ["| model, task | method | trained | rate, of n | dev | test |", "|---|---|--:|--:|--:|--:|"]
    for (backbone, task), methods in encoder_runs().items():
        for label in sorted(methods, key=lambda name: -mean(methods[name].scores("test"))):
            runs, trials = methods[label].runs, methods[label].trials
            cells = [spread(methods[label].scores(split)) for split in ("dev", "test")]
            trained = f"{runs[0]['trainable']:,} | {runs[0]['lr']:g}, {trials}"
            lines.append(f"| {backbone}, {TASK_LABELS[task]} | `{label}` | {trained} | {' | '.join(cells)} |")
    return lines


def longer() -> list[str]:
    """Return the scores of full fine-tuning on CoLA with more epochs, also of MPNet with half of its layers."""
    lines = ["| model | parameters | rate | dev | test |", "|---|--:|--:|--:|--:|"]
    for block, label in LONGER.items():
        for run in read_runs(block):
            scores = [score_answers(["matthews"], _answers(run[split]))["matthews"] for split in ("dev", "test")]
            cells = f"{run['trainable']:,} | {run['lr']:g} | {scores[0]:.1f} | {scores[1]:.1f}"
            lines.append(f"| {label} ([data](results/real-scores-{block}.json)) | {cells} |")
    return lines


def comparisons() -> list[str]:
    """Return paired tests of these scores on test, with Holm's correction over all rows of the table."""
    tests = []
    for (backbone, task), methods in encoder_runs().items():
        for first, second in COMPARED:
            if first in methods and second in methods:
                test = swap_test(methods[first].test, methods[second].test, [SCORES[task]])
                tests.append((f"{backbone}, {TASK_LABELS[task]} | `{first}`, `{second}`", test))
    return test_table("model, task | rows", tests)


def test_table(names: str, tests: list[tuple[str, SwapTest]]) -> list[str]:
    """Return a table of paired tests on test, with Holm's correction over all its rows.

    Args:
        names: the titles of the first columns.
        tests: the first cells of each row, and its test.
    """
    corrected = holm([test.p for _, test in tests])
    columns = f"{names} | difference on test | p | p after Holm | smallest difference found with power 80 %"
    lines = [f"| {columns} |", f"|{'---|' * (names.count('|') + 1)}--:|--:|--:|--:|"]
    for (cells, test), p in zip(tests, corrected, strict=True):
        smallest = detectable_difference(test)
        lines.append(f"| {cells} | {test.difference:+.1f} | {format_p(test.p)} | {format_p(p)} | {smallest:.1f} |")
    return lines


def format_p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def spread(values: list[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}"
