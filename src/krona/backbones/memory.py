"""Memory options for a large frozen backbone: weights in bf16, gradient checkpointing, sharding.

Each is a setting of the trainer. The parameters that train stay in fp32 and whole on every device.
"""

from collections.abc import Iterator
from typing import Any

import torch.distributed as dist
from torch import nn


def train_in_fp32(model: nn.Module) -> None:
    """Store the parameters that train in fp32 (``precision=bf16-frozen``); a magnitude is made from a bf16 weight."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def recompute_blocks(model: Any) -> None:
    """Keep only the input of each block, and recompute the rest in the backward pass (``gradient_checkpointing``)."""
    model.activation_checkpointing_enable({"use_reentrant": False})


def shard_frozen(model: Any, *, device: int | None) -> None:
    """Keep a part of each block's frozen weights on each rank, and gather one block at a time (``strategy=fsdp``).

    Embedding and head stay whole, because decoding calls the encoder alone. All ranks must run the model equally often
    from here on, because each gathers from the others.

    Args:
        device: index of this rank's GPU; None on CPUs.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu" if device is None else "cuda", (dist.get_world_size(),))
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for block in iter_blocks(model):
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=trained)


def iter_blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of a model: the items of its outermost module lists."""
    for module in model.children():
        if isinstance(module, nn.ModuleList):
            yield from module
        else:
            yield from iter_blocks(module)
