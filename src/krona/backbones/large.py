"""What makes room for a large backbone, whose weights are frozen but have to be there: bf16, recomputing, sharding.

Each is a switch of the trainer's and leaves what trains in fp32, whole, on every device.
"""

from typing import Any

import torch.distributed as dist
from torch import nn


def train_in_fp32(model: nn.Module) -> None:
    """``precision=bf16-frozen``: what trains is fp32, also where it was made of a weight in bf16 (a magnitude)."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def recompute_blocks(model: Any) -> None:
    """``gradient_checkpointing``: keep each block's input only, and compute the rest again in the backward pass."""
    model.activation_checkpointing_enable({"use_reentrant": False})


def shard_frozen(model: Any, *, device: int | None) -> None:
    """``strategy=fsdp``: each rank keeps a part of every block's frozen weights and has one block at a time whole.

    Embedding and head stay whole, because decoding calls the encoder by itself. Every rank has to go through the model
    equally often from here on: a block is put together by all of them. ``device``: this rank's GPU, None on CPUs.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu" if device is None else "cuda", (dist.get_world_size(),))
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for stack in (model.encoder, model.decoder):
        for block in stack.block:
            fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
