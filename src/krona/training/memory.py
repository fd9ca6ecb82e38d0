"""Reduce the memory of a large frozen backbone by gradient checkpointing and sharding.

The settings of the trainer select these options. With each option, every device has all trained parameters.
"""

from collections.abc import Iterator
from typing import Any

import torch.distributed as dist
from torch import nn


def recompute_blocks(model: Any) -> None:
    """Store only the input of each block, and recompute the block in the backward pass (``gradient_checkpointing``)."""
    model.activation_checkpointing_enable({"use_reentrant": False})


def shard_frozen(model: Any, *, device: int | None) -> None:
    """Distribute the frozen weights of each block over the ranks (``strategy=fsdp``).

    Before a block is executed, its parts are gathered from all ranks (the processes of a run). All ranks must therefore
    execute the model equally often after this call. The embeddings and the head are not distributed, because decoding
    also calls the encoder without the decoder. ``device`` is the index of this rank's GPU, or None on CPUs.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu" if device is None else "cuda", (dist.get_world_size(),))
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for block in iter_blocks(model):
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=trained)


def iter_blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of a model. These are the items of its outermost module lists."""
    for module in model.children():
        if isinstance(module, nn.ModuleList):
            yield from module
        else:
            yield from iter_blocks(module)
