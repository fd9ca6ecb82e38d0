"""bench=training: forward and backward of each method over the floor, a frozen backbone's gradient of its input."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from krona.bench.contestants import (
    frozen_t5,
    peft_twins,
    random_batch,
    training_step,
    twin,
    with_method,
    with_quick_modules,
)
from krona.bench.rounds import Timed, timed_rounds
from krona.bench.settings import Bench, Entrant
from krona.training_step import slow_down

Row = dict[str, Any]
FLOORS = {
    "floor": "the library's frozen backbone, gradient of the input",
    "floor/quick": "the same with this project's LayerNorms and dropout",
    "floor + layer_norm": "the library's modules, LayerNorm weights trained",
}


def measure(
    bench: Bench, entrants: Sequence[Entrant], sizes: Mapping[str, Any], say: Callable[[str], None]
) -> list[Row]:
    """A row a contestant: seconds of a step, its ratio to both floors, the optimiser's step beside it."""
    backbone = frozen_t5(sizes, seed=bench.seed)
    batch = random_batch(
        rows=bench.batch_size, length=bench.length, vocabulary=backbone.config.vocab_size, seed=bench.seed
    )
    models: dict[str, Any] = {"floor": twin(backbone), "floor/quick": with_quick_modules(backbone)}
    by_name = {entrant.name: entrant for entrant in entrants}
    if "layer_norm" in by_name:
        models["floor + layer_norm"] = with_method(backbone, by_name["layer_norm"], seed=bench.seed)
        slow_down(models["floor + layer_norm"])
    for name, entrant in by_name.items():
        models[name] = with_method(backbone, entrant, seed=bench.seed)
    if bench.peft:
        models |= {name: build() for name, build in peft_twins(backbone).items()}

    optimizer_seconds: dict[str, list[float]] = {name: [] for name in models}
    calls = {
        name: _timed_call(
            training_step(model, batch, from_embeddings=not _trains(model)), model, optimizer_seconds[name]
        )
        for name, model in models.items()
    }
    timed = timed_rounds(
        calls,
        rounds=bench.rounds,
        warm_up=bench.warm_up,
        minutes=bench.minutes,
        mark_load=bench.load == "mark",
        seed=bench.seed,
        say=say,
    )
    return [_row(name, timed, by_name.get(name), model, optimizer_seconds[name]) for name, model in models.items()]


def _trains(model: Any) -> bool:
    return any(p.requires_grad for p in model.parameters())


def _timed_call(step: Callable[[], None], model: Any, optimizer_seconds: list[float]) -> Callable[[], float]:
    """One step, timed without the optimiser's, which is timed by itself."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-5, weight_decay=0.0) if trainable else None

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


def _row(name: str, timed: Timed, entrant: Entrant | None, model: Any, optimizer_seconds: list[float]) -> Row:
    optimizer = sorted(optimizer_seconds)[len(optimizer_seconds) // 2] if optimizer_seconds else 0.0
    others = {
        f"ratio_to_{key}": other for key, other in (("full", "full"), ("lora", "lora"), ("peft_lora", "peft/lora"))
    }
    return {
        "name": name,
        "shape": entrant.shape if entrant else None,
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "median_s": timed.median(name),
        "spread": timed.spread(name),
        "ratio_to_floor": timed.ratio(name, "floor"),
        "ratio_to_quick_floor": timed.ratio(name, "floor/quick"),
        **{key: timed.ratio(name, other) if other in timed.seconds else None for key, other in others.items()},
        "with_optimizer_s": timed.median(name) + optimizer,
        "rounds": len(timed.seconds[name]),
        "disturbed_rounds": timed.disturbed,
    }
