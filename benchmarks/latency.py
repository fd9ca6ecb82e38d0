"""bench=latency: time the forward pass of each method, relative to the bare backbone (Table 2 of the KronA paper).

The number of operations that each method adds is counted too. If the update of a method is linear, the update is merged
into the weights. Otherwise, the model is timed with the method's modules.
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
    """The number of source tokens, as in the paper."""
    decoder: Positive = 10
    """The number of decoder tokens (the tokens of a label), as in the paper."""
    large_rounds: Positive = 3
    """The number of rounds with the larger batch, which is measured without peft's models."""


def measure(work: Work) -> list[Row]:
    """Return the rows for the paper's batch (1 row of 10 tokens), then the rows for a larger batch.

    The larger batch is measured without peft's models.
    """
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
    launches = {name: dispatched(call).total() for name, call in calls.items()}  # serves as a warm-up too
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
    """Return a sentence that reports how well the numbers of launched operations explain the latencies in Table 2.

    A method's additional latency is modelled as the number of operations that its modules launch, divided by a
    constant. The constant is the number of operations of the authors' bare model. It is fitted by least squares.
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
        "If the latencies in Table 2 are predicted from the launches that the modules add, with "
        f"{1 / slope:,.0f} launches for the bare model, the largest error is {worst:.2f} of the bare model's latency"
    ]


def _medians_of_thirds(seconds: Sequence[float]) -> list[float]:
    """Divide the rounds into three parts, as in the three repeats of the paper, and return the median of each part."""
    size = max(1, len(seconds) // 3)
    return [median_high(seconds[size * part : size * (part + 1)] or seconds) for part in range(3)]
