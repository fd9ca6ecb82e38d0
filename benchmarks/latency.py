"""bench=latency: a forward pass of each method over the bare backbone's, and the operations that it adds (Table 2).

A method's model is merged if its update is linear, otherwise it runs as its plain modules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median_high
from typing import Any

from benchmarks.contestants import (
    build_family,
    forward,
    frozen_backbone,
    inserted_shape,
    merge_if_linear,
    peft_twins,
    perturb,
    random_batch,
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
    """The settings of this benchmark."""

    backbone: str = "t5_base"
    source: Positive = 10
    """Source tokens, as in the paper."""
    decoder: Positive = 10
    """Decoder tokens, as in the paper; of a label's text."""
    large_rounds: Positive = 3
    """Rounds of the larger batch, without peft's models."""


def measure(work: Work) -> list[Row]:
    """Return rows for batch 1 × 10 (the paper's), and for a larger batch without peft's models."""
    bench, options = work.bench, work.bench.own(Options)
    backbone = frozen_backbone(work.backbone, seed=bench.seed)
    backbone.eval()
    models, forms = {"backbone": twin(backbone)}, {"backbone": "bare"}
    for entrant in work.entrants:
        tuned = with_method(backbone, entrant, seed=bench.seed)
        perturb(tuned, seed=bench.seed)
        models[entrant.name], forms[entrant.name] = merge_if_linear(tuned)
    ours = dict(models)
    if bench.peft:
        models |= {name: build().eval() for name, build in peft_twins(backbone).items()}
        forms |= {name: "plain" for name in models if name not in forms}
    paper = replace(bench, batch_size=1, length=options.source, minutes=0.8 * bench.minutes)
    large = replace(bench, rounds=options.large_rounds, warm_up=0, minutes=0.2 * bench.minutes)
    rows = _measure_size(paper, options.decoder, models, forms, work.say)
    return rows + _measure_size(large, options.decoder, ours, forms, work.say)


def _measure_size(
    bench: Bench, decoder: int, models: Mapping[str, Any], forms: Mapping[str, str], say: Say
) -> list[Row]:
    say(f"batch {bench.batch_size} × {bench.length}")
    bare = models["backbone"]
    family = build_family(bare)
    batch = random_batch(bare, rows=bench.batch_size, length=bench.length, seed=bench.seed, answer=decoder)
    inputs = family.inputs(bare, batch)
    calls = {name: forward(model, inputs) for name, model in models.items()}
    launches = {name: dispatched(call).total() for name, call in calls.items()}  # also a warm-up
    timed = timed_rounds(bench, calls, say=say)
    return [
        {
            **timed.row(name, shape=inserted_shape(models[name])),
            "form": forms[name],
            "batch_size": bench.batch_size,
            "source": bench.length,
            "decoder": decoder if family.writes else 0,
            "ratio_to_backbone": timed.ratio(name, "backbone"),
            "launches": launches[name],
            "launches_added": launches[name] - launches["backbone"],
            "repeats": _medians_of_thirds(timed.seconds[name]),
        }
        for name in models
    ]


def conclusions(rows: Sequence[Row]) -> list[str]:
    """Return how well launches explain the latencies of Table 2: those that plain modules add, over one constant.

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
        f"Table 2's latencies by the launches that plain modules add: one constant, {1 / slope:,.0f} launches for the "
        f"bare model, leaves at most {worst:.2f} of its latency unexplained"
    ]


def _medians_of_thirds(seconds: Sequence[float]) -> list[float]:
    """The three repeats of the paper: the rounds in three parts."""
    size = max(1, len(seconds) // 3)
    return [median_high(seconds[size * part : size * (part + 1)] or seconds) for part in range(3)]
