"""The settings of a training, as the LightningModule needs them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import get_linear_schedule_with_warmup


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of the training.

    Args:
        build_schedule: a function that builds the schedule of the learning rate. Its arguments are the optimizer, the
            number of warm-up steps and the number of all steps.
        total_steps: the number of optimizer steps of the whole training, including the warm-up.
        gradient_clip: the largest allowed norm of the gradient. None means no limit.
        micro_batch_size: the maximum number of rows in one forward pass of a rank. None means that the rank's whole
            share of a batch goes through the model in one pass.
        seed: the seed of the run, which determines the dropout in each step.
        patience: the number of epochs without a better dev score after which training stops. None means that training
            never stops early.
        in_step: whether all ranks must run the model the same number of times in a step, even if a rank has fewer rows.
            FSDP needs this.
        compile: whether the loss is computed as one compiled graph.
    """

    build_optimizer: Callable[..., torch.optim.Optimizer]
    build_schedule: Callable[..., Any] = get_linear_schedule_with_warmup
    warmup_steps: int
    total_steps: int
    gradient_clip: float | None = None
    micro_batch_size: int | None = None
    seed: int
    patience: int | None = None
    in_step: bool = False
    compile: bool = False
