"""Compute the number of steps and the schedule of the learning rate, and divide the parameters into groups."""

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, SequentialLR

from krona import surgery
from krona.config.settings import Optimizer, RunSettings, Scheduler
from krona.config.target_classes import find_class
from krona.messages import KronaError, did_you_mean, plural, shorten


@dataclass(frozen=True, kw_only=True)
class StepCounts:
    """The number of optimizer steps in an epoch, in the warm-up and in the whole training."""

    epoch: int
    warmup: int
    total: int


def count_batches(settings: RunSettings, rows: int) -> int:
    """Return the number of batches in an epoch, each of ``batch_size`` rows, limited by ``limit_train_batches``."""
    batches, limit = -(-rows // settings.batch_size), settings.trainer.limit_train_batches
    return min(limit, batches) if isinstance(limit, int) else int(batches * limit)


def count_steps(settings: RunSettings, epoch: int) -> StepCounts:
    """Compute the step counts of a run from the number of steps in an epoch."""
    trainer = settings.trainer
    total = trainer.max_epochs * epoch
    if trainer.max_steps >= 0:
        total = min(total, trainer.max_steps)
    return StepCounts(epoch=epoch, warmup=count_warmup_steps(settings.optimizer, total), total=total)


def count_warmup_steps(optimizer: Optimizer, total_steps: int) -> int:
    """Return the number of warm-up steps.

    A value of ``optimizer.warmup_steps`` that is not an integer is a fraction of ``total_steps``. The result is rounded
    up, but a single step has no warm-up, because its learning rate would be 0.
    """
    warmup = optimizer.warmup_steps
    if isinstance(warmup, int):
        return warmup
    return math.ceil(warmup * total_steps) if total_steps > 1 else 0


def build_schedule(
    optimizer: torch.optim.Optimizer, warmup_steps: int, total_steps: int, *, scheduler: Scheduler
) -> LRScheduler:
    """Build the learning-rate schedule. The ``step`` method of the schedule must be called after each optimizer step.

    If ``scheduler`` names a function with the argument ``num_warmup_steps``, such as transformers'
    ``get_…_schedule_with_warmup``, this function gets the numbers of steps and includes the warm-up. A class of
    ``torch.optim.lr_scheduler`` has no warm-up, so its schedule begins after a linear warm-up. If the class has the
    argument ``T_max`` or ``total_steps``, the argument gets the number of steps after the warm-up.

    Raises:
        KronaError: the schedule cannot be built with these arguments, or ignores the learning rates of the groups.
    """
    target = find_class(scheduler.target, "scheduler._target_", "scheduler")
    known = inspect.signature(target).parameters
    warmup, rest = min(warmup_steps, max(0, total_steps - 1)), max(1, total_steps - warmup_steps)
    steps = {"num_warmup_steps": warmup_steps, "num_training_steps": total_steps, "T_max": rest, "total_steps": rest}
    arguments = {name: value for name, value in steps.items() if name in known} | dict(scheduler.arguments)
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        if "num_warmup_steps" in known or not warmup:
            schedule: LRScheduler = target(optimizer, **arguments)
        else:
            rise = LambdaLR(optimizer, lambda step: step / warmup_steps)
            schedule = SequentialLR(optimizer, [rise, target(optimizer, **arguments)], milestones=[warmup])
    except (TypeError, ValueError, AttributeError) as error:
        why = shorten(" ".join(str(error).split()), 200)
        raise KronaError(f"The scheduler {scheduler.target} cannot be built: {why}") from error
    if len(rates) > 1 and [group.get("initial_lr") for group in optimizer.param_groups] != rates:
        raise KronaError(
            f"The scheduler {scheduler.target} sets the learning rate of all weights itself, so optimizer.lr_factors "
            "has no effect. Use scheduler=linear, cosine or constant, or remove optimizer.lr_factors."
        )
    return schedule


def schedule_notes(settings: RunSettings, steps: StepCounts) -> list[str]:
    """Return a list with a note if a run has no steps, or if the warm-up takes a quarter of the steps or more."""
    if not steps.total:
        return [
            "With these values of trainer.max_epochs, max_steps and limit_train_batches, nothing is trained. The score "
            "is that of the initial weights."
        ]
    if steps.warmup < 0.25 * steps.total or 1 == steps.warmup < steps.total:
        return []
    lr, source = settings.optimizer.lr, " of the paper" if steps.warmup == 500 else ""
    effect = f"takes {round(100 * steps.warmup / steps.total)} % of training ({plural(steps.total, 'step')})"
    if steps.warmup >= steps.total:
        effect += f", so lr rises to {lr * (steps.total - 1) / steps.warmup:.3g}, not to {lr:g}"
    return [
        f"The warm-up of {plural(steps.warmup, 'step')}{source} {effect}. An epoch has {plural(steps.epoch, 'step')}. "
        "To change the warm-up, set optimizer.warmup_steps."
    ]


BASE_GROUP = "base"  # the optimizer's group of all weights without a factor in lr_factors


def optimizer_groups(model: nn.Module, optimizer: Optimizer) -> list[Any]:
    """Return the trainable parameters for the optimizer.

    With ``optimizer.lr_factors``, the result is a list of groups, each with its own learning rate. The first group
    contains the parameters without a factor, if there are any.

    Raises:
        KronaError: a key of ``lr_factors`` is not a group of this model's trainable parameters.
    """
    factors = optimizer.lr_factors
    if not factors:
        return [p for p in model.parameters() if p.requires_grad]
    groups = surgery.trainable_groups(model)
    for name in factors:
        if name not in groups:
            raise KronaError(
                f"optimizer.lr_factors.{name}={factors[name]:g} does not name a group of trained weights: "
                f"{did_you_mean(name, groups)}."
            )
    base = [p for name, parameters in groups.items() if name not in factors for p in parameters]
    named = [{"name": name, "params": groups[name], "lr": optimizer.lr * factor} for name, factor in factors.items()]
    return [{"name": BASE_GROUP, "params": base, "lr": optimizer.lr}, *named] if base else named
