"""Settings of the training: the optimizer, its schedule and the size of a step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import get_linear_schedule_with_warmup


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of `krona.training.learner.Learner`.

    Args:
        build_optimizer: of the parameters that train. build_schedule: of the optimizer, warm-up steps and all steps.
        gradient_clip: the largest norm. micro_batch_size: rows of a rank in one forward pass; None: all.
        patience: epochs without a better dev score after which training ends.
        in_step: all ranks go through the model equally often, those with fewer rows too (FSDP).
        compile: compute the loss as one compiled graph.
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
