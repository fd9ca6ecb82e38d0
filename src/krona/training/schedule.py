"""Length of the training, its warm-up and the schedule of its learning rate."""

import inspect
import math
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, SequentialLR

from krona.config.settings import Optimizer, Run, Scheduler
from krona.config.targets import find
from krona.messages import KronaError, amount, shortened


def count_epoch_steps(settings: Run, batches: int) -> int:
    """Steps of an epoch of so many batches: all, or as many as ``trainer.limit_train_batches`` says."""
    limit = settings.trainer.limit_train_batches
    return min(limit, batches) if isinstance(limit, int) else int(batches * limit)


def total_steps(settings: Run, steps_per_epoch: int) -> int:
    """Optimiser steps of the whole run: those of max_epochs, at most max_steps."""
    steps, most = settings.trainer.max_epochs * steps_per_epoch, settings.trainer.max_steps
    return steps if most < 0 else min(steps, most)


def count_warmup_steps(optimizer: Optimizer, total_steps: int) -> int:
    """Return the number of warm-up steps: ``optimizer.warmup_steps``, or that share of ``total_steps``, rounded up."""
    warmup = optimizer.warmup_steps
    return warmup if isinstance(warmup, int) else math.ceil(warmup * total_steps)


def build_schedule(
    optimizer: torch.optim.Optimizer, warmup_steps: int, total_steps: int, *, scheduler: Scheduler
) -> LRScheduler:
    """The schedule that ``scheduler`` names, stepped once a step.

    Functions like transformers' ``get_…_schedule_with_warmup`` get the numbers of steps. A class of
    ``torch.optim.lr_scheduler`` begins after a linear warm-up, and gets the steps that are left as ``T_max`` or
    ``total_steps`` where it has such an argument.

    Raises:
        KronaError: it can't be built with these arguments.
    """
    found = find(scheduler.target, "scheduler._target_", "scheduler", own=True)
    known = inspect.signature(found).parameters
    warmup, rest = min(warmup_steps, max(0, total_steps - 1)), max(1, total_steps - warmup_steps)
    own_warmup = "num_warmup_steps" in known
    steps = {"num_warmup_steps": warmup_steps, "num_training_steps": total_steps, "T_max": rest, "total_steps": rest}
    arguments = {name: value for name, value in steps.items() if name in known} | dict(scheduler.arguments)
    try:
        if own_warmup or not warmup:
            return _built(found, optimizer, arguments)
        rises = LambdaLR(optimizer, lambda step: step / warmup_steps)
        return SequentialLR(optimizer, [rises, _built(found, optimizer, arguments)], milestones=[warmup])
    except (TypeError, ValueError, AttributeError) as error:
        why = shortened(" ".join(str(error).split()), 200)
        raise KronaError(f"scheduler: {scheduler.target} can't be built: {why}") from error


def _built(found: Any, optimizer: torch.optim.Optimizer, arguments: dict[str, Any]) -> LRScheduler:
    built = found(optimizer, **arguments)
    if not isinstance(built, LRScheduler):
        raise TypeError(f"it makes a {type(built).__name__}, no LRScheduler")
    return built


def schedule_notes(settings: Run, steps: int, steps_per_epoch: int) -> list[str]:
    """Notes for a run without steps, or with a warm-up that takes most of them."""
    warmup = count_warmup_steps(settings.optimizer, steps)
    if not steps:
        zero = "max_steps" if settings.trainer.max_epochs else "max_epochs"
        zero = zero if steps_per_epoch else "limit_train_batches"
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
