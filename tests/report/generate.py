"""Create plausible results without training. Their configs are composed from conf/ like those of real runs."""

import json
import random
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from krona.config.compose import compose_job, hydra_session
from krona.display_names import method_label
from krona.metrics.scores import score
from krona.paper import TASKS, read_paper_table
from krona.paths import CONF, NANO
from krona.report.build import collect
from krona.report.table import Report, Table
from krona.runs.description import record_departures
from krona.runs.predictions import label_ids
from krona.runs.result import Result, write_result
from krona.runs.run_id import run_id
from krona.tasks.notes import OFFICIAL_ROWS
from nested import with_values

PARAMS = {"full": 222_903_552, "bitfit": 280_960, "pa": 139_824}
METHODS = tuple(read_paper_table("1").rows)
SKILL = dict(zip(METHODS, (0.80, 0.74, 0.77, 0.79, 0.78, 0.79, 0.82, 0.83, 0.84), strict=True))
BACKBONES = {"t5_base": 222_903_552, "t5_small": 60_506_624, "nano": 2_411_520}  # parameters
OTHER = 15_600_000  # number of parameters of any other backbone
MADE = {  # of a run that has finished
    "git_commit": "0123456789abcdef", "git_dirty": False, "device": "cpu (x86_64)", "threads": 1,
    "versions": {"python": "3.11.2", "torch": "2.13.0"}, "started": "2026-01-01T00:00:00",
    "finished": "2026-01-01T00:10:00", "mergeable": True,
}  # fmt: skip


def _composed(method: str, task: str, backbone: str, kind: str) -> dict[str, Any]:
    """Return a config from few compositions. A name without a YAML has KronA's, RTE's or a folder's values."""
    method = method if (CONF / "method" / f"{method}.yaml").is_file() else "krona"
    task = task if (CONF / "task" / f"{task}.yaml").is_file() else "rte"
    of_task = _compose("krona", task, backbone, kind)
    return of_task if method == "krona" else {**_compose(method, "rte", backbone, kind), "task": of_task["task"]}


@cache
def _compose(method: str, task: str, backbone: str, kind: str) -> dict[str, Any]:
    data = {"glue": [], "own": [], "sample": ["data=sample"]}[kind]
    words = ["profile=demo"] if (kind, backbone) == ("sample", "nano") else [*_backbone_words(backbone), *data]
    with hydra_session():
        return compose_job([*words, f"method={method}", f"task={task}"]).config


def _backbone_words(backbone: str) -> list[str]:
    shipped = backbone != "local" and (CONF / "backbone" / f"{backbone}.yaml").is_file()
    return [f"backbone={backbone}"] if shipped else ["backbone=local", "backbone.path=/t5", f"backbone.name={backbone}"]


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
    kind: str | None = None,
    change: dict[str, Any] | None = None,
    status: str = "done",
) -> Result:
    """Return the result of a run. ``change`` sets config keys with dots. ``kind`` is glue, or sample for sample_*."""
    kind = kind or ("sample" if task.startswith("sample_") else "glue")
    own = {"task.files": {"train": "mine.csv"}, "task.sample": None} if kind == "own" else {}
    given = {"seed": seed, "sweep": sweep, "method.name": method, "task.name": task, "trainer.max_epochs": epochs}
    config = with_values(_composed(method, task, backbone, kind), {**given, **own, **(change or {})})
    name = run_id(config, data_fingerprint=task, backbone_fingerprint=backbone)
    result = Result(
        run_id=name, status=status, method=method, task=task, seed=seed, config=config,
        row={"label": method_label(method), "settings": {}}, data_kind=kind,
    )  # fmt: skip
    result.provenance = {
        **MADE, "backbone_fingerprint": f"{backbone}@main", "pretrained": config["backbone"]["pretrained"],
        "backbone": _backbone_facts(backbone, config["backbone"]),
    }  # fmt: skip
    if kind == "glue" and task in OFFICIAL_ROWS:
        result.provenance["official_rows"] = {part: [rows, rows] for part, rows in OFFICIAL_ROWS[task].items()}
    result.provenance["update_rank"] = _update_rank(config["method"])
    result.trainable_params = PARAMS.get(method, 158_208)
    result.trainable_percent = 100 * result.trainable_params / 222_903_552
    if status != "done":
        result.error = "loss is nan at step 12: lower optimizer.lr" if status == "failed" else None
        result.progress = {"epoch": 2, "epochs": epochs, "step": 12, "steps": 36}
        return result
    _add_scores(result, rows=rows, epochs=epochs, skill=SKILL.get(method, 0.7) if skill is None else skill)
    return result


def _backbone_facts(backbone: str, config: dict[str, Any]) -> dict[str, Any]:
    nano = json.loads((NANO / "config.json").read_text(encoding="utf-8"))
    sizes = nano if backbone == "nano" else config["sizes"] or {**nano, "d_model": 256, "num_layers": 6}
    kept = ("d_model", "d_kv", "d_ff", "num_layers", "num_heads", "feed_forward_proj", "vocab_size")
    sizes = {key: sizes[key] for key in kept}
    return {
        "architecture": "t5", "parameters": BACKBONES.get(backbone, OTHER),
        "sizes": {**sizes, "num_decoder_layers": sizes["num_layers"]},
    }  # fmt: skip


def _update_rank(method: dict[str, Any]) -> int | None:
    """Return the highest possible rank of the update on a layer 768 → 768."""
    if factors := method.get("kron_factors"):
        products = [min(shape) for shape in factors]
        return 768 if method.get("residual") else min(768, method.get("terms", 1) * products[0] * products[-1])
    return method.get("rank")


def set_answers(result: Result, targets: list[str], given: list[str], split: str = "test") -> None:
    """Set the targets and the predictions of a split, and their scores."""
    task = result.config["task"]
    parts = score(task["metrics"], targets, given, label_ids(task))
    table, choice = (sum(parts[n] for n in names) / len(names) for names in (task["score"], task["metrics"]))
    rows = [*zip(targets, given, strict=True)]
    setattr(result, split, {"score": table, "choice": choice, "parts": parts, "rows": rows})


def with_score(result: Result, score: float) -> Result:
    """Set the test score of a run without predictions, and return the run."""
    result.test["score"] = score
    del result.dev["rows"], result.test["rows"]
    return result


def set_wrong(result: Result, count: int) -> None:
    """Make the first ``count`` predictions of dev and test invalid, and all others correct."""
    for split in ("dev", "test"):
        targets = [target for target, _ in getattr(result, split)["rows"]]
        set_answers(result, targets, ["yes"] * count + targets[count:], split)


def _add_scores(result: Result, *, rows: int, epochs: int, skill: float) -> None:
    labels, rng = label_ids(result.config["task"]), random.Random(zlib.crc32(result.run_id.encode()))
    for split, seed in (("dev", 1), ("test", 2)):
        same = random.Random(f"{result.task}{seed}")  # equal targets and difficulties for all runs of a task
        pool = labels or [f"{i / 10:.1f}" for i in range(51)]
        targets = [same.choice(pool) for _ in range(rows)]
        ease = [same.gauss(0, 0.25) for _ in range(rows)]
        if labels:
            given = [t if e + rng.random() < skill else rng.choice(pool) for t, e in zip(targets, ease, strict=True)]
        else:
            given = [f"{min(5, max(0, float(t) + 4 * (1 - skill) * (e + rng.gauss(0, 1)))):.1f}"
                     for t, e in zip(targets, ease, strict=True)]  # fmt: skip
        set_answers(result, targets, given, split)
        result.splits[split] = _split(result.task, split, rows)
    counts = dict.fromkeys(labels or ("1.0", "3.0", "5.0"), 12)
    result.splits["train"] = {**_split(result.task, "train", sum(counts.values())), "targets": counts}
    best = result.dev["score"]
    for epoch in range(1, epochs + 1):
        dev = best * (1 - 0.4 * 0.5**epoch) + rng.uniform(-0.5, 0)
        dev = best if epoch == epochs else min(dev, best - 0.01)
        result.dev_curve.append({"epoch": epoch, "step": 6 * epoch, "loss": 0.7 * 0.8**epoch, "lr": 1e-3, "score": dev,
                                 "parts": {}, "examples_per_s": 900.0})  # fmt: skip
    result.best_epoch = epochs
    train = 100.0 * (1 if result.method == "full" else 0.72) * rng.uniform(0.97, 1.03)
    result.times = {"setup": 2.0, "train": train, "evaluate": 5.0, "total": train + 7, "examples_per_s": 900.0}
    result.peak_memory = {"host": 1_500_000_000}
    result.provenance["load"] = [0.2, 0.9]  # the machine was quiet


def _split(task: str, name: str, rows: int) -> dict[str, Any]:
    kept = {"rows": rows, "fingerprint": f"{task}-{name}", "truncated": 0, "skipped_rows": 0}
    return {**kept, "empty_texts": 0, "repeated": 0}


def write_all(outputs: Path, results: Iterable[Result]) -> list[Result]:
    """Write each result and, if its scores have ``rows`` (target, prediction), its predictions.jsonl. Return them.

    As in a real run, the result records its departures from the paper's protocol, unless the test has set them.
    """
    written = list(results)
    for result in written:
        parts = {split: part for split in ("dev", "test") if (part := getattr(result, split))}
        scores = {split: {key: part[key] for key in part if key != "rows"} for split, part in parts.items()}
        stored = result.model_copy(update=scores)
        if stored.departures is None:
            record_departures(stored)
        write_result(outputs / result.run_id, stored)
        lines = [
            {"split": split, "id": f"{split}-{i}", "source": f"sentence: number {i} of {result.task}",
             "target": target, "prediction": given}
            for split, part in parts.items() for i, (target, given) in enumerate(part.get("rows", ()))
        ]  # fmt: skip
        if lines:
            text = "".join(f"{json.dumps(line)}\n" for line in lines)
            (outputs / result.run_id / "predictions.jsonl").write_text(text, encoding="utf-8")
    return written


def collected(outputs: Path, results: Iterable[Result], **choice: Any) -> Report:
    """Write each result and return the report of the folder."""
    write_all(outputs, results)
    return collect(outputs, **choice)


def note_texts(table: Table) -> list[str]:
    """Return the sentences of a table's notes."""
    return [note.text for note in table.notes]


def grid(
    methods: Iterable[str] = METHODS, tasks: Iterable[str] = TASKS, seeds: Iterable[int] = (0, 1, 2), **kwargs: Any
):
    """Return results for every combination of method, task and seed."""
    seeds, tasks = list(seeds), list(tasks)
    return [make_result(m, t, s, **kwargs) for m in methods for t in tasks for s in seeds]
