"""Memory options for a large frozen backbone: bf16, gradient checkpointing, sharding.

Each is an option of the trainer and leaves what trains in fp32, whole, on every device.
"""

from collections.abc import Iterator
from typing import Any

import torch.distributed as dist
from torch import nn


def train_in_fp32(model: nn.Module) -> None:
    """``precision=bf16-frozen``: what trains is fp32, also if it was made from a bf16 weight (a magnitude)."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def recompute_blocks(model: Any) -> None:
    """``gradient_checkpointing``: keep only each block's input, and recompute the rest in the backward pass."""
    model.activation_checkpointing_enable({"use_reentrant": False})


def shard_frozen(model: Any, *, device: int | None) -> None:
    """``strategy=fsdp``: each rank keeps a part of every block's frozen weights, and gathers one block at a time.

    Embedding and head stay whole, because decoding calls the encoder by itself. From here on all ranks must run the
    model equally often, because each gathers from the others. ``device``: this rank's GPU, None on CPUs.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu" if device is None else "cuda", (dist.get_world_size(),))
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for block in iter_blocks(model):
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=trained)


def iter_blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a model's stacks: what its outermost lists of modules hold."""
    for module in model.children():
        if isinstance(module, nn.ModuleList):
            yield from module
        else:
            yield from iter_blocks(module)
