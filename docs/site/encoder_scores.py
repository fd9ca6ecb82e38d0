"""Generate the tables of docs/claims.md on pretrained encoders, from the predictions of scripts/real_scores.py."""

import base64
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from krona.labels import TASK_LABELS
from krona.metrics.compare_methods import Difference, compare_pairs, measure, row_shares
from krona.metrics.power import POWER
from krona.metrics.scores import score_answers
from krona.metrics.scores.metric import Answers, encode
from krona.metrics.statistics import holm, swap_test

RESULTS = Path(__file__).resolve().parents[1] / "results"
BLOCKS = ("mpnet_cola", "minilm_cola", "minilm_rte", "minilm_sst2", "mpnet_rte")  # of scripts/real_scores.py
SCORES = {"cola": "matthews", "rte": "accuracy", "sst2": "accuracy"}
EXCLUDED = {"minilm_cola": ("krona_b", "krona_b_only")}  # one rate for branch and head, and all predictions constant
ALWAYS_SHOWN = ({"krona", "lora"}, {"krona_only", "lora_only"})
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
        rates: the learning rates that were tried.
        dev, test: targets and predictions of each run.
    """

    runs: list[dict[str, Any]]
    rates: list[float]
    dev: list[Answers]
    test: list[Answers]

    @property
    def at_edge(self) -> bool:
        """True if the chosen rate is the lowest or the highest of those that were tried."""
        return self.runs[0]["lr"] in (min(self.rates), max(self.rates))

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
            found[label] = Method(chosen, [*by_rate], *splits)
    return found


@cache
def encoder_runs() -> dict[tuple[str, str], dict[str, Method]]:
    """Return the runs of each method by backbone and task, without the methods of `EXCLUDED`."""
    found = {}
    for block in BLOCKS:
        if methods := block_methods(block):
            run = next(iter(methods.values())).runs[0]
            ranked = {label: one for label, one in methods.items() if label not in EXCLUDED.get(block, ())}
            found[run["backbone"].rpartition("/")[2], run["task"]] = ranked
    return found


def _answers(part: dict[str, Any]) -> Answers:
    packed = (part["outcomes"][name] for name in ("targets", "predictions"))
    return encode(*(zlib.decompress(base64.b64decode(text)).decode().split("\n") for text in packed), ["0", "1"])


def encoders() -> list[str]:
    """Return the scores of pretrained encoders: mean ± standard deviation over three seeds."""
    lines = ["| model, task | method | trained | rate, of n | dev | test |", "|---|---|--:|--:|--:|--:|"]
    for (backbone, task), methods in encoder_runs().items():
        for label in sorted(methods, key=lambda name: -mean(methods[name].scores("test"))):
            method = methods[label]
            run, edge = method.runs[0], ", edge" if method.at_edge else ""
            cells = [spread(method.scores(split)) for split in ("dev", "test")]
            trained = f"{run['trainable']:,} | {run['lr']:g}, {len(method.rates)}{edge}"
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
    """Return the tests of all pairs of methods on each task. Few of those with p ≥ 0.05 are shown."""
    tests = []
    for (backbone, task), methods in encoder_runs().items():
        for names, difference, of_runs in pair_tests(methods, SCORES[task]):
            shown = " and ".join(f"`{name}`" for name in names)
            tests.append((f"{backbone}, {TASK_LABELS[task]} | {shown}", difference, of_runs, {*names} in ALWAYS_SHOWN))
    return test_table("model, task | methods", tests)


def pair_tests(methods: dict[str, Method], metric: str) -> Iterator[tuple[tuple[str, str], Difference, float]]:
    """Yield the labels of each pair of methods, the higher score first, their difference, and the p of these runs."""
    labels = sorted(methods, key=lambda name: -mean(methods[name].scores("test")))
    samples = [measure(row_shares(methods[label].test, [metric])) for label in labels]
    for (i, j), difference in compare_pairs(samples).items():
        of_runs = swap_test(methods[labels[i]].test, methods[labels[j]].test, [metric]).p
        yield (labels[i], labels[j]), difference, of_runs


def test_table(names: str, tests: list[tuple[str, Difference, float, bool]]) -> list[str]:
    """Return a table of tests on test, with Holm's correction over all of them.

    Args:
        names: the titles of the first columns.
        tests: the first cells of each row, the difference, the p-value of these runs, and whether the row is shown if
            both p-values are at least 0.05.
    """
    corrected = holm([difference.p for _, difference, _, _ in tests])
    columns = (
        f"{names} | difference on test | 95 % interval | p | p after Holm | p of these runs | found with power 80 %"
    )
    lines = [f"| {columns} |", f"|{'---|' * (names.count('|') + 1)}--:|--:|--:|--:|--:|--:|"]
    for (cells, one, of_runs, always), p in zip(tests, corrected, strict=True):
        if always or min(one.p, of_runs) < 0.05:
            low, high = one.interval
            estimate = f"{one.value:+.1f} | {low:+.1f} to {high:+.1f} | {format_p(one.p)} | {format_p(p)}"
            lines.append(f"| {cells} | {estimate} | {format_p(of_runs)} | {one.detectable(POWER):.1f} |")
    hidden = len(tests) + 2 - len(lines)
    return [*lines, "", f"{len(tests)} pairs were tested. {hidden} pairs with both p ≥ 0.05 are not shown."]


def format_p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def spread(values: list[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}"
