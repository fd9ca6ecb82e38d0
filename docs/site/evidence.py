"""Generate the tables of docs/claims.md: tests of the paper's numbers, and the measurements in docs/results/."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, mean, stdev
from typing import Any

from krona.metrics.answers import Answers, encode
from krona.metrics.power import Assumed
from krona.metrics.scores import score_by_sums
from krona.metrics.statistics import holm, swap_test
from krona.paper import METHOD_LABELS, TASK_LABELS, TASKS, read_paper_table
from krona.report.power import paper_differences
from krona.runs.result import unpack_outcomes

RESULTS = Path(__file__).resolve().parents[1] / "results"
PAIRS = {  # of rows, by table of the paper
    "1": (
        ("krona", "lora"), ("krona_b", "pa"), ("krona", "full"), ("krona_b", "full"), ("krona_b_res", "full"),
        ("lora", "full"), ("krona_b_res", "krona_b"), ("krona", "bitfit"),
    ),
    "4": (("kaiming_uniform", "normal"),),
    "5": (("parallel", "sequential"), ("ps", "parallel"), ("ps", "ps_silu"), ("ps_ffn", "ps")),
    "6": (("silu", "gelu"),),
    "9": (("2x384", "3x256"),),
}  # fmt: skip
BACKBONES = {"T5-base": "training", "BERT-base": "training-bert_base", "MiniLM": "training-minilm_l6",
             "SmolLM2": "training-smollm2_135m"}  # fmt: skip
BLOCKS = ("mpnet_cola", "minilm_cola", "minilm_rte", "minilm_sst2", "mpnet_rte")  # of scripts/real_scores.py
SCORES = {"cola": "matthews", "rte": "accuracy", "sst2": "accuracy"}
COMPARED = (
    ("krona", "lora"), ("krona_only", "lora_only"), ("krona", "full"), ("lora", "full"), ("krona", "krona_only"),
    ("lora", "lora_only"), ("krona", "layer_norm"), ("lora", "layer_norm"), ("krona_b", "krona"),
)  # fmt: skip
SEEDS = 3
DETECTED = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)  # standard errors: level 5 %, two-sided, power 80 %
LEVEL = 0.05
SHOWN = ("full", "krona", "krona_b", "krona_b_res", "pa", "adapter", "compacter", "bitfit")


def differences() -> list[str]:
    """Return the tasks on which printed scores differ beyond chance: exact McNemar, Holm over the tasks of a pair."""
    lines = ["| table | rows | first is better on | p below 0.05 after Holm |", "|:--|---|--:|---|"]
    for number, pairs in PAIRS.items():
        for first, second in pairs:
            found = paper_differences(number, list(TASKS), rows=(first, second), assumed=Assumed())
            corrected = holm([pair.realistic for pair in found])
            better = sum(pair.better == first and pair.difference > 0 for pair in found)
            ways: dict[str, list[str]] = defaultdict(list)
            for pair, p in zip(found, corrected, strict=True):
                if p < LEVEL:
                    shown = f"{p:.3f}" if p >= 0.001 else "< 0.001"
                    ways[pair.better].append(f"{TASK_LABELS[pair.task]} ({shown})")
            if max(corrected) < 0.01 and better == len(found):
                ways = {first: [f"all (< {0.001 if max(corrected) < 0.001 else 0.01})"]}
            told = "; ".join(f"{_label(row)}: {', '.join(tasks)}" for row, tasks in ways.items())
            names = f"{_label(first)}, {_label(second)}"
            lines.append(f"| {number} | {names} | {better} of {len(found)} | {told or 'none'} |")
    return lines


def _label(row: str) -> str:
    return METHOD_LABELS.get(row, row.replace("_", " "))


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
        return [score_by_sums([metric], answers)[metric] for answers in getattr(self, split)]


def encoder_runs() -> dict[tuple[str, str], dict[str, Method]]:
    """Return a dict from backbone and task to a dict from each method's label to its runs."""
    found: dict[tuple[str, str], dict[str, Method]] = {}
    for block in BLOCKS:
        file = RESULTS / f"real-scores-{block}.json"
        by_label: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for run in json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() else ():
            by_label[run["label"]].append(run)
        for label, runs in by_label.items():
            by_rate: dict[float, list[dict[str, Any]]] = defaultdict(list)
            for run in sorted(runs, key=lambda run: run["seed"]):
                by_rate[run["lr"]].append(run)
            chosen = max(by_rate.values(), key=len)
            if len(chosen) == SEEDS:
                splits = [[_answers(run[split]) for run in chosen] for split in ("dev", "test")]
                place = chosen[0]["backbone"].rpartition("/")[2], chosen[0]["task"]
                found.setdefault(place, {})[label] = Method(chosen, len(by_rate), *splits)
    return found


def _answers(part: dict[str, Any]) -> Answers:
    return encode(*unpack_outcomes(part["outcomes"]), ["0", "1"])


def scores() -> list[str]:
    """Return the scores of encoders with real weights: mean ± standard deviation over three seeds."""
    lines = ["| model, task | method | trained | rate | dev | test |", "|---|---|--:|--:|--:|--:|"]
    for (backbone, task), methods in encoder_runs().items():
        for label in sorted(methods, key=lambda name: -mean(methods[name].scores("test"))):
            runs = methods[label].runs
            cells = [_spread(methods[label].scores(split)) for split in ("dev", "test")]
            trained = f"{runs[0]['trainable']:,} | {runs[0]['lr']:g}"
            lines.append(f"| {backbone}, {TASK_LABELS[task]} | `{label}` | {trained} | {' | '.join(cells)} |")
    return lines


def comparisons() -> list[str]:
    """Return paired tests of these scores on test, with Holm's correction over all rows of the table."""
    rows, p_values = [], []
    for (backbone, task), methods in encoder_runs().items():
        for first, second in COMPARED:
            if first in methods and second in methods:
                test = swap_test(methods[first].test, methods[second].test, [SCORES[task]])
                smallest = DETECTED * float(test.null.std())
                rows.append((f"{backbone}, {TASK_LABELS[task]} | `{first}`, `{second}`", test.difference, smallest))
                p_values.append(test.p)
    lines = [
        "| model, task | rows | difference on test | p | p after Holm | smallest difference found with power 80 % |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for (names, difference, smallest), p, corrected in zip(rows, p_values, holm(p_values), strict=True):
        lines.append(f"| {names} | {difference:+.1f} | {p:.3f} | {corrected:.3f} | {smallest:.1f} |")
    return lines


def _spread(values: list[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if stdev(values) else f"{mean(values):.1f}"


def training() -> list[str]:
    """Return the time of a training step over LoRA's: the paper's, and this project's on four backbones."""
    paper = {name: row["training_time"] for name, row in read_paper_table("2").rows.items()}
    measured = {name: {row["name"]: row["ratio_to_lora"] for row in _rows(file)} for name, file in BACKBONES.items()}
    lines = [f"| | paper, T5-base | {' | '.join(measured)} |", f"|---|{'--:|' * (len(measured) + 1)}"]
    for method in SHOWN:
        cells = [f"{rows[method]:.3f}" if method in rows else "–" for rows in measured.values()]
        lines.append(f"| {_label(method)} | {paper[method] / paper['lora']:.2f} | {' | '.join(cells)} |")
    return lines


def latency() -> list[str]:
    """Return latencies over the backbone's, batch 1 × 10: the paper's on a V100, and plain modules on a CPU."""
    paper = read_paper_table("2").rows
    ours = {row["name"]: row for row in _rows("latency") if row["batch_size"] == 1}
    methods = ("lora", "krona", "bitfit", "pa", "krona_b", "krona_b_res", "adapter", "compacter")
    lines = ["| | paper, V100 | CPU | form |", "|---|--:|--:|---|"]
    for method in methods:
        row = ours.get(f"{method}/plain", ours[method])
        ratios = f"{paper[method]['latency'] / 100:.2f} | {row['ratio_to_backbone']:.3f}"
        lines.append(f"| {_label(method)} | {ratios} | {row['form']} |")
    return lines


def memory() -> list[str]:
    """Return the peak memory of a training step in MiB, batch 8 × 64."""
    rows = [row for row in (*_rows("memory"), *_rows("memory-backbones")) if row["name"] in ("full", "lora", "krona")]
    rows = [row for row in rows if (row["batch_size"], row["length"], row["adapters"]) == (8, 64, 1)]
    sizes = {(row["backbone"], row["name"]): row["peak_memory"] / 2**20 for row in rows}
    lines = ["| | full | LoRA | KronA |", "|---|--:|--:|--:|"]
    for backbone in ("t5_base", "bert_base", "minilm_l6", "smollm2_135m"):
        cells = [f"{sizes[backbone, method]:,.0f}" for method in ("full", "lora", "krona")]
        lines.append(f"| `{backbone}` | {' | '.join(cells)} |")
    return lines


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return rows


TABLES = {
    "differences": differences,
    "scores": scores,
    "comparisons": comparisons,
    "training": training,
    "latency": latency,
    "memory": memory,
}
