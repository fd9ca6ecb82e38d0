"""Measures of a trained model besides its scores: its updates, and what it forgot.

They draw no random number and change no weight.
"""

import math
from typing import Any

import torch
from torch import nn

from krona.adapters import measure
from krona.backbones.held_out import HeldOut, held_out_loss
from krona.messages import KronaError
from krona.runs.result import Result
from krona.surgery.scaling import scale_update
from krona.training.evaluation import SplitEvaluation

DRIFT_ROWS = 32  # of dev, evenly spaced
SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the update, in `measure_forgetting`


def require_finite(model: nn.Module, dev: SplitEvaluation, *, lr: float) -> None:
    """Raise `KronaError` if trained weights, or the loss of the first dev row, are not finite.

    Training has checked the losses of its steps, but the loss of a step is computed before its update.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        return
    wrong = next((name for name, parameter in trained if not bool(torch.isfinite(parameter).all())), None)
    if wrong is None:
        with dev.inference(model):
            first = dev.row_loss(model, 0)
        wrong = None if bool(torch.isfinite(first)) else "loss on the first row of dev"
    if wrong is not None:
        raise KronaError(
            f"After training, the best epoch's {wrong} is not finite. Try a lower optimizer.lr (now {lr:g}) or "
            "method.scaling, or trainer.precision=32-true."
        )


def measure_updates(result: Result, model: nn.Module, dev: SplitEvaluation) -> None:
    """Record the updates of the adapter and their drift on up to `DRIFT_ROWS` rows of dev (`krona.adapters.measure`).

    A branch that cannot be measured gives a note instead of an error: the training is already done.
    """
    rows: Any = dev.batches.dataset
    count = min(DRIFT_ROWS, len(rows))

    def pass_rows() -> None:
        for number in range(count):
            dev.row_loss(model, number * len(rows) // count)

    try:
        with dev.inference(model):
            result.learned = measure.measure_updates(model, pass_rows)
    except Exception as error:  # from a user's own branch
        result.notes.append(f"The updates could not be measured: {type(error).__name__}: {error}")


def measure_forgetting(model: nn.Module, dev: SplitEvaluation, text: HeldOut) -> dict[str, Any]:
    """Return the loss on held-out text for each scale of the update (`krona.surgery.scaling`); 0 is the backbone."""
    losses = dict[str, float | None]()
    with dev.inference(model):
        for scale in SCALES:
            with scale_update(model, scale):
                value = held_out_loss(model, dev.family, text)
            losses[f"{scale:g}"] = round(value, 6) if math.isfinite(value) else None
    return {
        "loss": losses,
        "objective": text.objective,
        "text": text.text,
        "texts": len(text.rows),
        "tokens": text.tokens,
    }
