"""Who started this run's processes, as Lightning wants to know it: nobody, torchrun, or srun as ranks of one run."""

import os

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment


def cluster_environment() -> ClusterEnvironment:
    """The environment to train in.

    Chosen here, not by Lightning, which takes every process of a SLURM job for a rank, advises srun wherever there is
    one, and requeues jobs with checkpoints from the middle of an epoch: requeueing is `krona.launchers`' work.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()
