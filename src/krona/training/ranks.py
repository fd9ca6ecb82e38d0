"""The ranks of a run: its processes, one per device, and what they exchange.

Each rank holds the whole model and takes its share of every batch's rows; gradients, label tokens and predictions are
exchanged. This is the data parallelism of torch's DistributedDataParallel, written out: an adapter's gradients are
kilobytes, and the sums have to be exact over the global batch, also where a rank has fewer rows or none. A single
process is rank 0 of 1. Ranks are started by `krona.jobs.start_ranks` (``trainer.devices=4``), torchrun or srun.
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

from krona.messages import KronaError

Value = TypeVar("Value")
PATIENCE = timedelta(minutes=10)  # then a silent rank counts as lost
BUCKET = 2**24  # numbers in one message
LOST = "another process of this run ended or stood still"


class RankLostError(KronaError):
    """Another rank of the run is gone; the run can resume from its last checkpoint."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run. All ranks have to call the methods, in the same order."""

    rank: int = 0
    size: int = 1
    local_size: int = 1  # on this node
    device: int | None = None  # this rank's GPU

    @property
    def first(self) -> bool:
        """Whether this rank claims, writes, prints and tracks."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, bit-identical on all of them; in a few large messages."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            _exchanged(partial(dist.all_reduce, flat))
            for tensor, total in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def gather(self, value: Value) -> list[Value]:
        """Each rank's value, by rank. Values are pickled."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        _exchanged(partial(dist.all_gather_object, found, value))
        return found


def num_processes() -> int:
    """How many processes torchrun, srun or `krona.jobs.start_ranks` started for this run."""
    return (_place() or (0, 1, ""))[1]


def my_rank() -> int:
    return (_place() or (0, 1, ""))[0]


def require_one_launch(arguments: Sequence[str]) -> None:
    """Raise if a multirun was itself started as several processes."""
    if {"-m", "--multirun"} & set(arguments) and num_processes() > 1:
        raise KronaError(
            f"-m in each of {num_processes()} processes (torchrun, srun) would launch the sweep as often: start it "
            "once; with trainer.devices=N each of its runs starts processes of its own"
        )


@contextmanager
def join_ranks(*, devices: int, accelerator: str) -> Iterator[Ranks]:
    """Connect to the other ranks of this run, if any; ``devices`` per node, by NCCL between GPUs, else by gloo.

    Raises:
        RankLostError: another rank does not connect or is gone.
        KronaError: the number of processes on a node is not ``devices``.
    """
    place = _place()
    if place is None:
        yield Ranks()
        return
    rank, size, address = place
    backend = "cpu:gloo,cuda:nccl" if accelerator == "cuda" else "gloo"
    connect = partial(dist.init_process_group, backend, init_method=address, timeout=PATIENCE)
    _exchanged(partial(connect, rank=rank, world_size=size))
    try:
        hosts = Ranks(rank, size).gather(socket.gethostname())
        local = [number for number, host in enumerate(hosts) if host == hosts[rank]]
        if len(local) != devices:
            raise KronaError(
                f"trainer.devices={devices}, but {len(local)} processes of this run were started on {hosts[rank]} "
                f"({size} in all): start as many a node as trainer.devices says"
            )
        device = None
        if accelerator == "cuda":
            device = local.index(rank) % torch.cuda.device_count()  # srun may show each rank its own only
            torch.cuda.set_device(device)
        yield Ranks(rank, size, len(local), device)
    finally:
        dist.destroy_process_group()


def _place() -> tuple[int, int, str] | None:
    """Rank, number of ranks and address, from the starter's variables; None for a single process."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        rank, size, address = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "env://"
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # srun's; SLURM_NTASKS is set in a batch script too
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        rank, size = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
        host = SLURMEnvironment.resolve_root_node_address(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1"))
        port = int(os.environ.get("MASTER_PORT", 15000 + int(os.environ.get("SLURM_JOB_ID", "0")[-4:])))
        address = f"tcp://{host}:{port}"
    else:
        return None
    return (rank, size, address) if size > 1 else None


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in groups of one dtype and about ``BUCKET`` numbers."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or sum(t.numel() for t in bucket) >= BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _exchanged(exchange: Callable[[], Any]) -> None:
    try:
        exchange()
    except RuntimeError as error:  # gloo, NCCL and the store raise nothing more specific
        first = str(error).strip().splitlines()[0]
        raise RankLostError(f"{LOST} ({first}); the same command resumes after the last epoch that ended") from error
