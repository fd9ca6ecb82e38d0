"""bench=latency: time the forward pass of each method, relative to the bare backbone (Table 2 of the KronA paper).

The number of operations that each method adds is counted too. If the update of a method is linear, the update is merged
into the weights. Otherwise, the model is timed with the method's modules.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.contestants import (
    build_family,
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
from krona.surgery.operation_counts import dispatched
from krona.tasks.data_settings import Positive

COLUMNS = {
    "name": "method", "form": "form", "batch_size": "batch", "source": "source", "median_s": "forward",
    "spread": "spread", "ratio_to_backbone": "/ backbone", "ratio_to_full": "/ full", "paper": "paper / full",
    "launches_added": "launches added",
}  # fmt: skip


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
    """Return the rows for the paper's batch (1 row of 10 tokens), then the rows for a larger batch."""
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
    calls = {name: partial(_forward, model, inputs) for name, model in models.items()}
    launches = {name: dispatched(call).total() for name, call in calls.items()}  # serves as a warm-up too
    timed = timed_rounds(bench, calls, say=say)
    return [
        {
            **timed.row(name, shape=inserted_shape(models[name])),
            "form": forms[name],
            "batch_size": bench.batch_size,
            "source": bench.length,
            "decoder": decoder if family.generates_text else 0,
            "ratio_to_backbone": timed.ratio(name, "backbone"),
            "launches": launches[name],
            "launches_added": launches[name] - launches["backbone"],
        }
        for name in models
    ]


@torch.no_grad()
def _forward(model: Any, inputs: dict[str, Any]) -> None:
    model(**inputs)
