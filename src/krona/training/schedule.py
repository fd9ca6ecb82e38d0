"""Length of the training and of its warm-up."""

from krona.config.settings import Run
from krona.messages import amount


def total_steps(settings: Run, steps_per_epoch: int) -> int:
    """Optimiser steps of the whole run: those of max_epochs, at most max_steps."""
    steps, most = settings.trainer.max_epochs * steps_per_epoch, settings.trainer.max_steps
    return steps if most < 0 else min(steps, most)


def schedule_notes(settings: Run, steps: int, steps_per_epoch: int) -> list[str]:
    """Notes for a run without steps, or with a warm-up that takes most of them."""
    warmup = settings.optimizer.warmup_steps
    if not steps:
        zero = "max_steps" if settings.trainer.max_epochs else "max_epochs"
        return [f"trainer.{zero} is 0: nothing is trained, the score is that of the start"]
    if warmup < 0.25 * steps:
        return []
    lr, whose = settings.optimizer.lr, ", the paper's," if warmup == 500 else ""
    if warmup >= steps:
        reached = lr * (steps - 1) / warmup
        what = f"is longer than training ({amount(steps, 'step')}): lr rises to {reached:.3g}, not to {lr:g}"
    else:
        what = f"takes {round(100 * warmup / steps)} % of training ({amount(steps, 'step')})"
    return [
        f"the warm-up of {amount(warmup, 'step')}{whose} {what}; an epoch has {amount(steps_per_epoch, 'step')}; "
        "optimizer.warmup_steps= changes it"
    ]
