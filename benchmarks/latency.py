"""bench=latency: one forward of each method over the bare backbone's, and the operations that it adds (Table 2).

A method's model is merged where its update is linear, else it runs as its plain modules.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.contestants import (
    family_for,
    forward,
    frozen,
    merged,
    moved,
    peft_twins,
    random_batch,
    shape_in,
    twin,
    with_method,
)
from benchmarks.settings import Bench, Row, Say, Work, settings
from benchmarks.timing import timed_rounds
from krona.config.settings import Positive
from krona.surgery.operations import dispatched

COLUMNS = {
    "name": "method", "form": "form", "batch_size": "batch", "source": "source", "median_s": "forward",
    "spread": "spread", "ratio_to_backbone": "/ backbone", "ratio_to_full": "/ full", "paper": "paper / full",
    "launches_added": "launches added",
}  # fmt: skip
PLOT = ("ratio_to_backbone", "batch 1: forward over the bare backbone's")


@settings
class Options:
    """source and decoder: tokens of the paper's forward, the latter of a label's text; large_rounds: of the larger
    batch, without peft's models."""

    backbone: str = "t5_base"
    source: Positive = 10
    decoder: Positive = 10
    large_rounds: Positive = 3


def measure(work: Work) -> list[Row]:
    """Rows for batch 1 × 10 (the paper's), and for a larger batch without peft's models."""
    bench, options = work.bench, work.bench.own(Options)
    backbone = frozen(work.backbone, seed=bench.seed)
    backbone.eval()
    models, forms = {"backbone": twin(backbone)}, {"backbone": "bare"}
    for entrant in work.entrants:
        tuned = with_method(backbone, entrant, seed=bench.seed)
        moved(tuned, seed=bench.seed)
        models[entrant.name], forms[entrant.name] = merged(tuned)
    ours = dict(models)
    if bench.peft:
        models |= {name: build().eval() for name, build in peft_twins(backbone).items()}
        forms |= {name: "plain" for name in models if name not in forms}
    paper = replace(bench, batch_size=1, length=options.source, minutes=0.8 * bench.minutes)
    large = replace(bench, rounds=options.large_rounds, warm_up=0, minutes=0.2 * bench.minutes)
    return [
        *_at_size(paper, options.decoder, models, forms, work.say),
        *_at_size(large, options.decoder, ours, forms, work.say),
    ]


def _at_size(bench: Bench, decoder: int, models: Mapping[str, Any], forms: Mapping[str, str], say: Say) -> list[Row]:
    say(f"batch {bench.batch_size} × {bench.length}")
    bare = models["backbone"]
    family, size = family_for(bare), {"rows": bench.batch_size, "length": bench.length}
    inputs = family.inputs(bare, random_batch(bare, seed=bench.seed, answer=decoder, **size))
    calls = {name: forward(model, inputs) for name, model in models.items()}
    counted = {name: dispatched(call).total() for name, call in calls.items()}  # warms up too
    timed = timed_rounds(bench, calls, say=say)
    return [
        {
            **timed.row(name, shape=shape_in(models[name])),
            "form": forms[name],
            "batch_size": bench.batch_size,
            "source": bench.length,
            "decoder": decoder if family.writes else 0,
            "ratio_to_backbone": timed.ratio(name, "backbone"),
            "launches": counted[name],
            "launches_added": counted[name] - counted["backbone"],
            "repeats": [_median_of_third(timed.seconds[name], part) for part in range(3)],
        }
        for name in models
    ]


def conclusions(rows: Sequence[Row]) -> list[str]:
    """Whether launches explain Table 2's latencies: those that plain modules add, over one constant.

    The constant is the number of launches of the authors' bare model, fitted by least squares through zero.
    """
    pairs = [
        (row["launches_added"], row["paper"] - 1)
        for row in rows
        if row["form"] == "plain" and row["batch_size"] == 1 and "paper" in row
    ]
    pairs = [(added, latency) for added, latency in pairs if latency > 0 and added > 0]
    if not pairs:
        return []
    slope = sum(a * b for a, b in pairs) / sum(a * a for a, _ in pairs)
    worst = max(abs(a * slope - b) for a, b in pairs)
    return [
        f"Table 2's latencies by launches that plain modules add: one constant, {1 / slope:,.0f} launches for the bare "
        f"model, leaves at most {worst:.2f} of its latency unexplained"
    ]


def _median_of_third(values: Sequence[float], part: int) -> float:
    """The paper's three repeats: the rounds in three parts."""
    size = max(1, len(values) // 3)
    chosen = sorted(itertools.islice(values, part * size, (part + 1) * size)) or sorted(values)
    return chosen[len(chosen) // 2]
