"""bench=training: forward and backward of each method over the floor, a frozen backbone's gradient of its input.

All contestants run the same code but for their branches: this project's LayerNorms and dropout
(`krona.kernels.t5_modules`) stand in the floor and in peft's models too. Rows that end in ``/library`` have the
library's own modules instead: what a user of peft has, and what the project saves besides. No ratio but
``ratio_to_library_floor`` is over one of those.
"""

import time
from collections.abc import Callable
from dataclasses import field
from typing import Any

from benchmarks.contestants import (
    adamw,
    family_for,
    frozen,
    peft_twins,
    random_batch,
    shape_in,
    training_step,
    twin,
    with_layer_norms,
    with_method,
    with_our_modules,
)
from benchmarks.settings import Row, Work, settings
from benchmarks.timing import Timed, timed_rounds
from krona.backbones.families import Batch
from krona.kernels.t5_modules import use_fast_modules

COLUMNS = {
    "name": "method", "shape": "A", "median_s": "fwd+bwd", "spread": "spread", "ratio_to_floor": "/ floor",
    "ratio_to_lora": "/ lora", "ratio_to_peft_lora": "/ peft lora", "ratio_to_peft_lokr": "/ peft lokr",
    "ratio_to_peft_form": "/ peft's form of it", "ratio_to_library_floor": "/ library's floor",
    "ratio_to_full": "/ full", "paper": "paper / full", "with_optimizer_s": "with optimiser",
}  # fmt: skip
PLOT = ("ratio_to_floor", "forward and backward over the floor")
RATIOS = {
    "floor": "floor", "library_floor": "floor/library", "full": "full", "lora": "lora", "peft_lora": "peft/lora",
    "peft_lokr": "peft/lokr",
}  # fmt: skip
PEFT_FORMS = {"lora": "peft/lora", "krona": "peft/lokr", "miss": "peft/miss", "c3a": "peft/c3a"}


@settings
class Options:
    """shapes: of A, a row of krona for each."""

    backbone: str = "t5_base"
    shapes: list[list[int]] = field(default_factory=list)


def measure(work: Work) -> list[Row]:
    """A row a contestant: seconds of a step, its ratios, the optimiser's step beside it."""
    bench = work.bench
    backbone = frozen(work.backbone, seed=bench.seed)
    batch = random_batch(backbone, rows=bench.batch_size, length=bench.length, seed=bench.seed)
    models: dict[str, Any] = {
        "floor": with_our_modules(backbone),
        "floor + layer_norm": with_layer_norms(backbone),
        "floor/library": twin(backbone),
    }
    models |= {entrant.name: with_method(backbone, entrant, seed=bench.seed) for entrant in work.entrants}
    twins = peft_twins(backbone, methods={entrant.name for entrant in work.entrants}) if bench.peft else {}
    for name, build in twins.items():
        models[name], models[f"{name}/library"] = build(), build()
        use_fast_modules(models[name])

    optimizer_seconds: dict[str, list[float]] = {name: [] for name in models}
    calls = {name: _timed_call(model, batch, optimizer_seconds[name]) for name, model in models.items()}
    timed = timed_rounds(bench, calls, say=work.say)
    return [_row(name, timed, model, optimizer_seconds[name]) for name, model in models.items()]


def _timed_call(model: Any, batch: Batch, optimizer_seconds: list[float]) -> Callable[[], float]:
    """One step, timed without the optimiser's, which is timed by itself."""
    optimizer = adamw(model)
    step = training_step(family_for(model), model, batch, from_embeddings=optimizer is None)

    def call() -> float:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        if optimizer is not None:
            start = time.perf_counter()
            optimizer.step()
            optimizer_seconds.append(time.perf_counter() - start)
            optimizer.zero_grad()  # a full model's gradients would stay in memory
        return seconds

    return call


def _row(name: str, timed: Timed, model: Any, optimizer_seconds: list[float]) -> Row:
    optimizer = sorted(optimizer_seconds)[len(optimizer_seconds) // 2] if optimizer_seconds else 0.0
    over = RATIOS | {"peft_form": PEFT_FORMS.get(name.split()[0], "")}
    return {
        **timed.row(name, shape=shape_in(model)),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        **{f"ratio_to_{key}": timed.ratio(name, to) for key, to in over.items()},
        "with_optimizer_s": timed.median(name) + optimizer,
    }
