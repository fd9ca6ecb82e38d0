"""Measures of a trained model beside its scores: what it learned and forgot. No number is drawn, no weight changed."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from krona.adapters import measure
from krona.backbones.families import Batch, Family
from krona.backbones.held_out import HeldOut, held_out, loss
from krona.backbones.load import Loaded
from krona.config.settings import Run
from krona.messages import KronaError
from krona.runs.result import Result
from krona.surgery.scaling import scaled
from krona.training.ranks import Ranks
from krona.training.rows import Rows

ROWS = 32  # of dev, evenly spaced, for the drift
SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the update, for what was forgotten


def measure_updates(settings: Run, result: Result, backbone: Loaded, rows: Rows, ranks: Ranks) -> None:
    """Record `krona.adapters.measure` of the model as it is, its drift on up to `ROWS` rows of dev.

    Each row passes alone: no padding is in the sums. A branch that can't be measured is a note: the run is done.
    """
    if not ranks.first and settings.trainer.strategy != "fsdp":  # there all go through the model together
        return
    tokens: Any = rows.dev.batches.dataset
    count = min(ROWS, len(tokens))
    chosen = [tokens[at * len(tokens) // count] for at in range(count)]
    model, family = backbone.model, backbone.family

    def passes() -> None:
        for row in chosen:
            family.summed_loss(model, on_device(model, family, [row]))

    try:
        with measuring(model, bf16=settings.trainer.frozen_in_bf16):
            result.learned = measure.measure_updates(model, passes)
    except Exception as error:  # of a branch of one's own: hours of training are not lost over it
        result.notes.append(f"what was learned is not measured: {type(error).__name__}: {error}")


def require_finite(settings: Run, backbone: Loaded, rows: Rows) -> None:
    """Raise KronaError for a model that trained to weights, or answers to the first row of dev, that are not finite.

    The last step's own loss was finite: it was computed before that step.
    """
    model, family = backbone.model, backbone.family
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        return
    wrong = next((name for name, parameter in trained if not bool(torch.isfinite(parameter).all())), None)
    if wrong is None:
        tokens: Any = rows.dev.batches.dataset
        with measuring(model, bf16=settings.trainer.frozen_in_bf16):
            loss = family.summed_loss(model, on_device(model, family, [tokens[0]]))
        wrong = None if bool(torch.isfinite(loss)) else "loss on the first row of dev"
    if wrong is not None:
        raise KronaError(
            f"after training, the best epoch's {wrong} is not finite: a lower optimizer.lr (now "
            f"{settings.optimizer.lr:g}) or method.scaling, or trainer.precision=32-true"
        )


def load_held_out(settings: Run, family: Family) -> HeldOut | None:
    """The held-out text of ``trainer.measure_forgetting``; None where that is off."""
    text = settings.trainer.measure_forgetting
    return held_out(family, Path(text) if isinstance(text, str) else None) if text else None


def measure_forgetting(settings: Run, backbone: Loaded, text: HeldOut) -> dict[str, Any]:
    """The loss on held-out text by the scale of the update (`krona.surgery.scaling`): 0 is the bare backbone."""
    model, losses = backbone.model, dict[str, float | None]()
    with measuring(model, bf16=settings.trainer.frozen_in_bf16):
        for scale in SCALES:
            with scaled(model, scale):
                found = loss(model, backbone.family, text)
            losses[f"{scale:g}"] = round(found, 6) if math.isfinite(found) else None
    return {
        "loss": losses,
        "objective": text.objective,
        "text": text.text,
        "texts": len(text.rows),
        "tokens": text.tokens,
    }


@contextmanager
def measuring(model: nn.Module, *, bf16: bool) -> Iterator[None]:
    """The model in eval mode, without gradients; ``bf16``: under autocast, as in training."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            yield
    finally:
        model.train(training)


def on_device(model: nn.Module, family: Family, rows: list[dict[str, Any]]) -> Batch:
    """Tokenised rows as the tensors of a batch, where the model is."""
    device = next(model.parameters()).device
    return {name: values.to(device) for name, values in family.collate(rows).items()}
