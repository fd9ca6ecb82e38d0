"""The processes that do one run together, one a device: who they are, and the few things that they tell each other.

Each rank holds the whole model, takes its share of every batch's rows, and adds what it found to the others': gradients
of what trains, label tokens, predictions. That is data parallelism as torch's DistributedDataParallel has it, written
out, because what is exchanged is small (an adapter's gradients are kilobytes, once a step) and has to be exact: sums
over the global batch, with ranks that have a row less in the last one, or none. A process alone is rank 0 of 1.

Ranks are started by `krona.jobs.start_ranks` (``trainer.devices=4``), by torchrun, or by srun, over several nodes
too.
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
PATIENCE = timedelta(minutes=10)  # after which a rank that says nothing counts as lost
BUCKET = 2**24  # numbers that go over in one message
LOST = "another process of this run ended or stood still"


class RankLostError(KronaError):
    """Another rank of the run is gone; the run can go on from its last checkpoint."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run. Every method but ``first`` is to be called by all of them, in one order."""

    rank: int = 0
    size: int = 1
    local_size: int = 1  # how many there are on this node
    device: int | None = None  # of several GPUs, the one that is this rank's

    @property
    def first(self) -> bool:
        """Whether it is the one that claims, writes, prints and tracks."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes its sum over the ranks, the same bits on all of them; in a few large messages."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            _exchanged(partial(dist.all_reduce, flat))
            at = 0
            for tensor in bucket:
                tensor.copy_(flat[at : at + tensor.numel()].view_as(tensor))
                at += tensor.numel()

    def gather(self, value: Value) -> list[Value]:
        """Each rank's value, by rank; of any kind that pickles."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        _exchanged(partial(dist.all_gather_object, found, value))
        return found


def processes_of_run() -> int:
    """As how many processes of one run torchrun, srun or `krona.jobs.start_ranks` started this one; 1: alone."""
    place = _place()
    return 1 if place is None else place[1]


def my_rank() -> int:
    place = _place()
    return 0 if place is None else place[0]


def require_one_launch(arguments: Sequence[str]) -> None:
    """Raise for a multirun that was itself started as several processes."""
    if {"-m", "--multirun"} & set(arguments) and processes_of_run() > 1:
        raise KronaError(
            f"-m in each of {processes_of_run()} processes (torchrun, srun) would launch the sweep as often: start it "
            "once; with trainer.devices=N each of its runs starts processes of its own"
        )


@contextmanager
def joined(*, devices: int, accelerator: str) -> Iterator[Ranks]:
    """Meet the other ranks of this run, if there are any, and part from them at the end.

    Args:
        devices: how many ranks a node is to have.
        accelerator: ``cuda`` for NCCL between GPUs; else gloo.

    Raises:
        RankLostError: the others don't come, or one of them went.
        KronaError: other numbers of processes were started than ``devices`` says.
    """
    place = _place()
    if place is None:
        yield Ranks()
        return
    rank, size, address = place
    backend = "cpu:gloo,cuda:nccl" if accelerator == "cuda" else "gloo"
    meeting = partial(dist.init_process_group, backend, init_method=address, timeout=PATIENCE)
    _exchanged(partial(meeting, rank=rank, world_size=size))
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
    """Rank, number of ranks and where they meet, as whoever started them says; None for a process alone."""
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
    """The tensors in groups of one dtype and about ``BUCKET`` numbers: summed in one message, copied once."""
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
    except RuntimeError as error:  # gloo, NCCL and the store: none has a kind of its own for it
        first = str(error).strip().splitlines()[0]
        raise RankLostError(f"{LOST} ({first}); the same command goes on after the last epoch that ended") from error
