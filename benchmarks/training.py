"""bench=training: time the forward and backward pass of each method, relative to the floor.

The floor is the frozen backbone, for which only the gradient of the input is computed. The models differ only in their
branches: the floor and peft's models also use krona's LayerNorms and dropout (`krona.kernels.t5_modules`). Models whose
names end in ``/library`` use the modules of the transformers library instead, as users of peft do. Only the ratio
``ratio_to_library_floor`` is relative to such a model.
"""

import time
from collections.abc import Callable
from dataclasses import field
from statistics import median_high
from typing import Any

from benchmarks.contestants import (
    build_adamw,
    build_family,
    frozen_backbone,
    inserted_shape,
    peft_twins,
    plain_twin,
    random_batch,
    training_step,
    twin,
    with_fast_modules,
    with_layer_norms,
    with_method,
)
from benchmarks.settings import Row, Work, settings
from benchmarks.timing import Timed, timed_rounds
from krona.adapters.adapter_file import class_path
from krona.backbones.families import Batch
from krona.backbones.peft_branch import PeftBranch
from krona.kernels.t5_modules import use_fast_modules

COLUMNS = {
    "name": "method", "shape": "A", "median_s": "fwd+bwd", "spread": "spread", "ratio_to_floor": "/ floor",
    "ratio_to_lora": "/ lora", "ratio_to_peft_lora": "/ peft lora", "ratio_to_peft_lokr": "/ peft lokr",
    "ratio_to_peft_form": "/ peft's form of it", "ratio_to_library_floor": "/ library's floor",
    "ratio_to_full": "/ full", "paper": "paper / full", "with_optimizer_s": "with optimizer",
}  # fmt: skip
RATIOS = {
    "floor": "floor", "library_floor": "floor/library", "full": "full", "lora": "lora", "peft_lora": "peft/lora",
    "peft_lokr": "peft/lokr",
}  # fmt: skip
PLAIN = "plain "  # a method peft/… without krona
PEFT_FORMS = {"lora": "peft/lora", "krona": "peft/lokr"}


@settings
class Options:
    """The models of this benchmark."""

    backbone: str = "t5_base"
    shapes: list[list[int]] = field(default_factory=list)
    """Shapes of A. Each shape adds a row for krona."""


def measure(work: Work) -> list[Row]:
    """Return a row for each model: the time of a step, its ratios to other models, and the time with the optimizer."""
    bench = work.bench
    backbone = frozen_backbone(work.backbone, seed=bench.seed)
    batch = random_batch(backbone, rows=bench.batch_size, length=bench.length, seed=bench.seed)
    models: dict[str, Any] = {
        "floor": with_fast_modules(backbone),
        "floor + layer_norm": with_layer_norms(backbone),
        "floor/library": twin(backbone),
    }
    models |= _build_entrants(work, backbone)
    for entrant in work.entrants:
        if entrant.method.branch == class_path(PeftBranch):
            models[f"{PLAIN}{entrant.name}"] = plain = plain_twin(backbone, entrant)
            use_fast_modules(plain)
    twins = peft_twins(backbone) if bench.peft else {}
    for name, build in twins.items():
        models[f"{name}/library"] = build()
        if name not in models:
            models[name] = build()
            use_fast_modules(models[name])

    optimizer_seconds: dict[str, list[float]] = {name: [] for name in models}
    calls = {name: _build_call(model, batch, optimizer_seconds[name]) for name, model in models.items()}
    timed = timed_rounds(bench, calls, say=work.say)
    return [_row(name, timed, model, optimizer_seconds[name]) for name, model in models.items()]


def _build_entrants(work: Work, backbone: Any) -> dict[str, Any]:
    """Return the models of the methods by the name of their rows.

    A shape of ``options.shapes`` that does not fit the backbone is replaced. Its row has the name of the used shape.
    """
    models: dict[str, Any] = {}
    for entrant in work.entrants:
        shapes = work.backbone.factor_shapes
        model = with_method(backbone, entrant, seed=work.bench.seed, factor_shapes=shapes)
        used, name = inserted_shape(model), entrant.name
        if name != entrant.method.name and used != entrant.shape:
            name = f"{entrant.method.name} {used}"
            work.say(f"{entrant.name}: this shape does not fit the backbone, so {used} is used")
            if used in map(inserted_shape, models.values()):
                continue  # the same model as an earlier row
        models[name] = model
    return models


def _build_call(model: Any, batch: Batch, optimizer_seconds: list[float]) -> Callable[[], float]:
    """Return a function that runs one training step and returns its time without the optimizer, in seconds.

    The function appends the time of the optimizer to ``optimizer_seconds``.
    """
    optimizer = build_adamw(model)
    step = training_step(build_family(model), model, batch, input_gradient=optimizer is None)

    def call() -> float:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        if optimizer is not None:
            start = time.perf_counter()
            optimizer.step()
            optimizer_seconds.append(time.perf_counter() - start)
            optimizer.zero_grad()  # frees the memory of the gradients
        return seconds

    return call


def _row(name: str, timed: Timed, model: Any, optimizer_seconds: list[float]) -> Row:
    references = RATIOS | {"peft_form": PEFT_FORMS.get(name.split()[0], f"{PLAIN}{name}")}
    return {
        **timed.row(name, shape=inserted_shape(model)),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        **{f"ratio_to_{key}": timed.ratio(name, reference) for key, reference in references.items()},
        "with_optimizer_s": timed.median(name) + (median_high(optimizer_seconds) if optimizer_seconds else 0.0),
    }
