"""The settings of a training, as the LightningModule needs them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import get_linear_schedule_with_warmup


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of the training."""

    build_optimizer: Callable[..., torch.optim.Optimizer]
    build_schedule: Callable[..., Any] = get_linear_schedule_with_warmup  # of the optimizer, warmup_steps, total_steps
    warmup_steps: int
    total_steps: int  # including the warm-up
    gradient_clip: float | None = None  # the largest allowed norm of the gradient
    micro_batch_size: int | None = None  # the maximum number of rows of a rank in one forward pass
    seed: int  # determines the dropout in each step
    patience: int | None = None  # epochs without a better dev score after which training stops
    in_step: bool = False  # all ranks run the model the same number of times in a step, which FSDP needs
    compile: bool = False
