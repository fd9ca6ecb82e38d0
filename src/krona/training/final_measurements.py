"""Measure a trained model: check that its weights are finite, and describe its updates.

These functions do not draw random numbers and do not change weights.
"""

from typing import Any

import torch
from torch import nn

from krona.adapters import update
from krona.messages import KronaError
from krona.runs.result import Result
from krona.training.evaluation import SplitEvaluation

DRIFT_ROWS = 32  # maximum number of dev rows, evenly spaced, on which drift is measured


def require_finite(model: nn.Module, dev: SplitEvaluation, *, lr: float) -> None:
    """Raise `KronaError` if a trained weight or the loss of the first dev row is not finite.

    The check during training is not sufficient. It tests the loss of each step, which is computed before the weights
    are updated. Therefore it does not test the last update of the weights.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        return
    wrong = next((name for name, parameter in trained if not bool(torch.isfinite(parameter).all())), None)
    if wrong is None:
        with dev.inference(model):
            first = dev.row_loss(model, 0)
        wrong = None if bool(torch.isfinite(first)) else "the loss on the first row of dev"
    if wrong is not None:
        raise KronaError(
            f"With the weights of the best epoch, {wrong} is not finite. Try a lower optimizer.lr (now {lr:g}) or "
            "method.scaling, or trainer.precision=32-true."
        )


def measure_updates(result: Result, model: nn.Module, dev: SplitEvaluation) -> None:
    """Measure the adapter's updates of the weights, and store the measurements in ``result.learned``.

    `krona.adapters.update` describes the measurements. Drift is measured on up to `DRIFT_ROWS` rows of dev. If the
    measurement fails, a note is added to ``result`` and no error is raised, because the training has already finished.
    """
    rows: Any = dev.batches.dataset
    count = min(DRIFT_ROWS, len(rows))

    def pass_rows() -> None:
        for number in range(count):
            dev.row_loss(model, number * len(rows) // count)

    try:
        with dev.inference(model):
            result.learned = update.measure_updates(model, pass_rows)
    except Exception as error:  # a user's own branch can raise any error
        result.notes.append(f"The updates could not be measured: {type(error).__name__}: {error}")
