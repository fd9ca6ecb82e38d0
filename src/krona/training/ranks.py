"""Data parallelism: connect the processes ("ranks") of a run, one per device, and exchange data between them.

Each rank has the whole model and processes its share of every batch. The ranks exchange gradients, numbers of label
tokens and predictions. torch's DistributedDataParallel is not used, because it averages the gradients of the ranks.
krona sums the gradients over all rows of the batch, so the result is exact even if a rank has fewer rows or no rows.
A run with a single process has only rank 0. Ranks are started by `krona.training.jobs.start_ranks`
(``trainer.devices=4``), torchrun or srun.
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from krona.messages import KronaError, first_line

Value = TypeVar("Value")
PATIENCE = timedelta(minutes=10)  # a rank that does not respond for this time counts as lost
BUCKET = 2**24  # approximate number of values in one message
LOST = "Another process of this run ended or stopped responding"


class RankLostError(KronaError):
    """The error that is raised if another rank of the run has ended. The run can resume from its last checkpoint."""


@dataclass(frozen=True)
class Ranks:
    """The position of this process among the ranks of its run. All ranks must call the methods in the same order."""

    rank: int = 0
    size: int = 1
    local_size: int = 1  # number of ranks on this node
    device: int | None = None  # this rank's GPU

    @property
    def first(self) -> bool:
        """True on rank 0, which is the only rank that claims the run, writes files, prints and calls trackers."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks. The sums are bit-identical on all ranks.

        The tensors are sent in a few large messages.
        """
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            _exchange(partial(dist.all_reduce, flat))
            for tensor, total in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def gather(self, value: Value) -> list[Value]:
        """Return a list of the values of all ranks, in the order of the ranks. Values are sent as pickles."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        _exchange(partial(dist.all_gather_object, values, value))
        return values


def num_processes() -> int:
    """Return the number of processes that torchrun, srun or `krona.training.jobs.start_ranks` started for this run."""
    return _read_environment()[1]


def my_rank() -> int:
    """Return the rank of this process in its run."""
    return _read_environment()[0]


def require_one_launch(arguments: Sequence[str]) -> None:
    """Raise `KronaError` if a multirun (``-m``) was started as several processes by torchrun or srun."""
    if {"-m", "--multirun"} & set(arguments) and num_processes() > 1:
        raise KronaError(
            f"torchrun or srun started {num_processes()} processes of this sweep (-m), and each process would run the "
            "whole sweep. Start the sweep without torchrun and srun. To train each run on N devices, use "
            "trainer.devices=N."
        )


@contextmanager
def join_ranks(*, devices: int, accelerator: str) -> Iterator[Ranks]:
    """Connect to the other ranks of this run, if there are any. GPUs communicate through NCCL, CPUs through gloo.

    Args:
        devices: the expected number of ranks on each node.
        accelerator: the kind of device, such as ``"cuda"``.

    Raises:
        RankLostError: another rank did not connect or has ended.
        KronaError: the number of processes on a node is not ``devices``.
    """
    rank, size, address = _read_environment()
    if size == 1:
        yield Ranks()
        return
    backend = "cpu:gloo,cuda:nccl" if accelerator == "cuda" else "gloo"
    connect = partial(dist.init_process_group, backend, init_method=address, timeout=PATIENCE)
    _exchange(partial(connect, rank=rank, world_size=size))
    try:
        hosts = Ranks(rank, size).gather(socket.gethostname())
        local = [number for number, host in enumerate(hosts) if host == hosts[rank]]
        if len(local) != devices:
            raise KronaError(
                f"trainer.devices={devices}, but {len(local)} processes of this run were started on {hosts[rank]} "
                f"({size} processes on all nodes). Start {devices} processes on each node."
            )
        device = None
        if accelerator == "cuda":
            device = local.index(rank) % torch.cuda.device_count()  # with srun a rank may see only its own GPU
            torch.cuda.set_device(device)
        yield Ranks(rank, size, len(local), device)
    finally:
        dist.destroy_process_group()


def _read_environment() -> tuple[int, int, str]:
    """Return the rank, the number of ranks and the address from the environment variables of torchrun or srun.

    Return (0, 1, "") for a single process.
    """
    rank, size, address = 0, 1, ""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        rank, size, address = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "env://"
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # set by srun only, unlike SLURM_NTASKS
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        rank, size = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
        host = SLURMEnvironment.resolve_root_node_address(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1"))
        port = int(os.environ.get("MASTER_PORT", 15000 + int(os.environ.get("SLURM_JOB_ID", "0")[-4:])))
        address = f"tcp://{host}:{port}"
    return (rank, size, address) if size > 1 else (0, 1, "")


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield groups of consecutive tensors that have the same dtype and about `BUCKET` values together."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or sum(t.numel() for t in bucket) >= BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _exchange(exchange: Callable[[], Any]) -> None:
    try:
        exchange()
    except RuntimeError as error:  # the most specific error that gloo, NCCL and torch's store raise
        why = first_line(error)
        raise RankLostError(
            f"{LOST} ({why}). Run the same command again to resume after the last complete epoch."
        ) from error
