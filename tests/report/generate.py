"""Plausible results without training: what a report is tested on and measured with."""

import json
import random
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from krona.metrics.scores import score
from krona.outputs.result import Result, outcomes, unpack_outcomes, write_result
from krona.outputs.run_id import run_id
from krona.paper import METHODS, TASKS

LABELS = {"mnli": {"entailment": 0, "neutral": 1, "contradiction": 2}, "stsb": None}
METRICS = {"cola": ["matthews"], "mrpc": ["f1", "accuracy"], "qqp": ["f1", "accuracy"], "stsb": ["pearson", "spearman"]}
SCORE = {"mrpc": ["f1"], "qqp": ["accuracy"]}
PARAMS = {"full": 222_903_552, "bitfit": 280_960, "pa": 139_824}
SKILL = dict(zip(METHODS, (0.80, 0.74, 0.77, 0.79, 0.78, 0.79, 0.82, 0.83, 0.84), strict=True))
METHOD_KEYS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 1, "target_modules": ["q", "v"]},
    "krona": {"kron_factors": [[32, 24], [24, 32]], "scaling": 1.0, "target_modules": ["q", "v"]},
    "krona_b": {"kron_factors": [[32, 24], [24, 32]], "scaling": 16.0, "target_modules": ["ffn"], "bias": 1},
    "krona_b_res": {"kron_factors": [[32, 24], [24, 32]], "scaling": 16.0, "residual": "scale"},
}


def make_result(
    method: str = "krona",
    task: str = "rte",
    seed: int = 0,
    *,
    rows: int = 120,
    epochs: int = 6,
    skill: float | None = None,
    sweep: str | None = "table1",
    backbone: str = "t5_base",
    pretrained: bool = True,
    kind: str | None = None,
    change: dict[str, Any] | None = None,
    status: str = "done",
) -> Result:
    """One run. ``change`` sets dotted config keys; ``kind`` defaults to sample for sample_* and glue otherwise."""
    plain = task.removeprefix("sample_")
    kind = kind or ("sample" if task != plain else "glue")
    config: dict[str, Any] = {
        "method": {"name": method, "source": "Table 16", **METHOD_KEYS.get(method, {})},
        "task": {
            "name": task,
            "labels": LABELS.get(plain, {"no": 0, "yes": 1}),
            "metrics": METRICS.get(plain, ["accuracy"]),
            "score": SCORE.get(plain, METRICS.get(plain, ["accuracy"])),
            "sample": plain if kind == "sample" else None,
            "files": {"train": "mine.csv"} if kind == "own" else None,
        },
        "backbone": {"name": backbone, "path": None, "pretrained": pretrained},
        "data": {"kind": "sample" if kind == "sample" else "hub", "protocol": "table1", "train_rows": None},
        "trainer": {"max_epochs": epochs, "precision": "32-true"},
        "optimizer": {"lr": 1e-3, "warmup_steps": 500},
        "batch_size": 100,
        "seed": seed,
        "sweep": sweep,
    }
    for key, value in (change or {}).items():
        *path, last = key.split(".")
        place = config
        for part in path:
            place = place[part]
        place[last] = value
    name = run_id(config, data_fingerprint=task, backbone_fingerprint=backbone)
    result = Result(run_id=name, status=status, method=method, task=task, seed=seed, config=config)  # type: ignore[arg-type]
    result.provenance = {
        "git_commit": "0123456789abcdef", "git_dirty": False, "device": "cpu (x86_64)", "threads": 1,
        "versions": {"python": "3.11.2", "torch": "2.13.0"}, "backbone_fingerprint": backbone, "data_kind": kind,
        "pretrained": pretrained, "started": "2026-01-01T00:00:00", "finished": "2026-01-01T00:10:00",
    }  # fmt: skip
    result.provenance["update_rank"] = _update_rank(config["method"])
    result.trainable_params = PARAMS.get(method, 158_208)
    result.trainable_percent = 100 * result.trainable_params / 222_903_552
    if status != "done":
        result.error = "loss is nan at step 12: lower optimizer.lr" if status == "failed" else None
        result.progress = {"epoch": 2, "epochs": epochs, "step": 12, "steps": 36}
        return result
    _add_scores(result, rows=rows, epochs=epochs, skill=SKILL.get(method, 0.7) if skill is None else skill)
    return result


def _update_rank(method: dict[str, Any]) -> int | None:
    """The highest rank on layers of 768 → 768."""
    if factors := method.get("kron_factors"):
        products = [min(shape) for shape in factors]
        return 768 if method.get("residual") else min(768, method.get("terms", 1) * products[0] * products[-1])
    return method.get("rank")


def _add_scores(result: Result, *, rows: int, epochs: int, skill: float) -> None:
    task, rng = result.config["task"], random.Random(zlib.crc32(result.run_id.encode()))
    labels = task["labels"] and [str(i) for i in task["labels"].values()]
    for split, seed in (("dev", 1), ("test", 2)):
        same = random.Random(f"{result.task}{seed}")  # every run of a task has the same targets, of the same difficulty
        pool = labels or [f"{i / 10:.1f}" for i in range(51)]
        targets = [same.choice(pool) for _ in range(rows)]
        ease = [same.gauss(0, 0.25) for _ in range(rows)]
        if labels:
            given = [t if e + rng.random() < skill else rng.choice(pool) for t, e in zip(targets, ease, strict=True)]
        else:
            given = [f"{min(5, max(0, float(t) + 4 * (1 - skill) * (e + rng.gauss(0, 1)))):.1f}"
                     for t, e in zip(targets, ease, strict=True)]  # fmt: skip
        parts = score(task["metrics"], targets, given, labels)
        table, choice = (sum(parts[n] for n in names) / len(names) for names in (task["score"], task["metrics"]))
        part = {"score": table, "choice": choice, "parts": parts, "outcomes": outcomes(targets, given)}
        setattr(result, split, part)
        result.splits[split] = {"rows": rows, "fingerprint": f"{result.task}-{split}", "truncated": 0}
    best = result.dev["score"]
    for epoch in range(1, epochs + 1):
        dev = best * (1 - 0.4 * 0.5**epoch) + rng.uniform(-0.5, 0)
        dev = best if epoch == epochs else min(dev, best - 0.01)
        result.dev_curve.append({"epoch": epoch, "step": 6 * epoch, "loss": 0.7 * 0.8**epoch, "lr": 1e-3, "score": dev,
                                 "parts": {}, "examples_per_s": 900.0})  # fmt: skip
    result.best_epoch, result.progress = (
        epochs,
        {"epoch": epochs, "epochs": epochs, "step": 6 * epochs, "steps": 6 * epochs},
    )
    train = 100.0 * (1 if result.method == "full" else 0.72) * rng.uniform(0.97, 1.03)
    result.times = {"setup": 2.0, "train": train, "evaluate": 5.0, "total": train + 7, "examples_per_s": 900.0}
    result.peak_memory = {"host": 1_500_000_000}


def write_thousand(outputs: Path) -> None:
    """1,008 runs: 72 made ones under 14 seeds each, Table 1 whole; quick to make, as large as real ones."""
    for result in grid(seeds=[0], rows=100, epochs=20):
        for seed in range(14):
            config = {**result.config, "seed": seed}
            named = replace(result, run_id=f"{result.run_id}-{seed}", seed=seed, config=config)
            write_result(outputs / named.run_id, named)


def write_all(outputs: Path, results: Iterable[Result], *, predictions: bool = False) -> list[Result]:
    """Each as ``outputs/<run id>/result.json``; with ``predictions``, the jsonl that a diff reads beside it."""
    written = list(results)
    for result in written:
        write_result(outputs / result.run_id, result)
        if predictions and result.status == "done":
            write_predictions(outputs / result.run_id, result)
    return written


def write_predictions(folder: Path, result: Result) -> None:
    """A line an example, as a run writes them."""
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for split in ("dev", "test"):
            for i, (target, given) in enumerate(zip(*unpack_outcomes(getattr(result, split)["outcomes"]), strict=True)):
                row = {"split": split, "id": f"{split}-{i}", "source": f"sentence: number {i} of {result.task}",
                       "target": target, "prediction": given}  # fmt: skip
                file.write(json.dumps(row) + "\n")


def grid(
    methods: Iterable[str] = METHODS, tasks: Iterable[str] = TASKS, seeds: Iterable[int] = (0, 1, 2), **kwargs: Any
):
    """Results of every combination."""
    seeds, tasks = list(seeds), list(tasks)
    return [make_result(m, t, s, **kwargs) for m in methods for t in tasks for s in seeds]
