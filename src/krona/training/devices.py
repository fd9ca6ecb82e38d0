"""Find the devices of a run, and train on several of them: one process per device, started by torchrun or srun.

Lightning's `DDPStrategy` averages the gradients of the processes. The learner multiplies its loss by the number of
processes and divides it by the number of labels in the whole batch, so the average is the exact gradient of the batch.
"""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from krona.config.settings import Trainer
from krona.messages import KronaError
from krona.paths import program
from krona.runs.launcher_environment import num_processes
from krona.training.machine import cpu_count

Value = TypeVar("Value")
PATIENCE = timedelta(minutes=10)  # a process that does not respond for this time counts as lost


@dataclass(frozen=True)
class Ranks:
    """The number of this process (its rank) among the processes of its run."""

    rank: int = 0
    size: int = 1
    local_size: int = 1  # number of processes on this machine

    @property
    def first(self) -> bool:
        """True on rank 0, which is the only process that claims the run, writes files, prints and logs."""
        return self.rank == 0

    def add_up(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes. All processes must call the method in the same order."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def broadcast(self, tensor: Tensor) -> None:
        """Replace a tensor by rank 0's tensor. All processes must call the method in the same order."""
        if self.size > 1:
            dist.broadcast(tensor, src=0)

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes in rank order. All processes must call the method in the same order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


def devices_wanted(trainer: Trainer) -> int:
    """Return the number of devices that a run uses on each machine."""
    if trainer.devices != "auto":
        return trainer.devices
    kind, count = count_devices(trainer)
    return 1 if kind == "cpu" else count


def count_devices(trainer: Trainer) -> tuple[str, int]:
    """Return the kind of device that a run uses (cuda, mps or cpu), and the number of such devices or CPU cores.

    Raises:
        KronaError: this machine does not have the device that the settings name.
    """
    mps = int(torch.backends.mps.is_available())
    counts = {"cuda": torch.cuda.device_count(), "mps": mps, "cpu": cpu_count()}
    kind: str = trainer.accelerator
    if kind in ("auto", "gpu"):
        kind = next((name for name in ("cuda", "mps") if counts[name]), "cpu" if kind == "auto" else "gpu")
    if not (count := counts.get(kind, 0)):
        available = ", ".join(name for name, number in counts.items() if number)
        raise KronaError(
            f"trainer.accelerator={trainer.accelerator} is not available on this machine. It has {available}."
        )
    return kind, count


def environment() -> Any:
    """Return Lightning's environment plugin for the program that started this process (torchrun, srun or another).

    Without this plugin, Lightning itself would detect SLURM and requeue the job at SIGUSR1.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if num_processes() == 1:
        return LightningEnvironment()
    return TorchElasticEnvironment() if "TORCHELASTIC_RUN_ID" in os.environ else SLURMEnvironment(auto_requeue=False)


@contextmanager
def join_processes(*, accelerator: str) -> Iterator[Ranks]:
    """Connect to the other processes of this run, if there are any. GPUs communicate through NCCL, CPUs through gloo.

    ``accelerator`` is the kind of device, such as ``"cuda"``.
    """
    if num_processes() == 1:
        yield Ranks()
        return
    plugin = environment()
    os.environ |= {"MASTER_ADDR": plugin.main_address, "MASTER_PORT": str(plugin.main_port)}
    rank, size = plugin.global_rank(), plugin.world_size()
    if accelerator == "cuda":
        torch.cuda.set_device(plugin.local_rank())
    backend = "cpu:gloo,cuda:nccl" if accelerator == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield Ranks(rank, size, Ranks(rank, size).gather(socket.gethostname()).count(socket.gethostname()))
    finally:
        dist.destroy_process_group()


def torchrun(devices: int, overrides: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that run ``train.py`` in one process per device of this machine."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    threads = str(max(1, cpu_count() // devices))
    # With the default log level, DDP's C++ code prints a warning in each process if the loss uses all parameters.
    environment = {"OMP_NUM_THREADS": threads, "TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ}
    return [*start, *program("train")[1:], *overrides], environment
