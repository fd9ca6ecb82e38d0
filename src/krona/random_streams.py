"""Derive the seeds of the random numbers of a run or a search from its seed."""

from hashlib import blake2b
from typing import Literal

Purpose = Literal["process", "backbone", "head", "branches", "rows", "batches", "dropout", "subset", "trial"]


def stream_seed(purpose: Purpose, seed: int, *, rank: int = 0, step: int = 0) -> int:
    """Return the seed of one stream of random numbers.

    Streams with different arguments are independent, because their seeds are hashes of all arguments.

    Args:
        purpose: the use of the numbers:

            - ``process``: the default generators of Python, NumPy and torch, for example in a user's callbacks.
            - ``backbone``: all weights of a backbone that is not pretrained.
            - ``head``: a new head on a pretrained backbone.
            - ``branches``: the initial values of the branches.
            - ``rows``, ``batches``: the order of the training rows and, with ``trainer.bucket_by_length``, of the
              batches.
            - ``dropout``: the masks of a training step.
            - ``subset``: the choice of the rows for ``data.train_rows``.
            - ``trial``: the values that `krona tune` proposes for a trial.
        seed: the run's seed. For ``subset``, the seed of the subset; for ``trial``, the seed of the search.
        rank: the number of the process, for numbers that must differ between the processes of a run. For ``trial``, 0
            for the values that are proposed together, otherwise the number of the searched key, from 1.
        step: the training step, the epoch or the trial's number.

    Returns:
        A number of 32 bits, because torch's generator on a CPU and NumPy's `RandomState` ignore or refuse more bits.
    """
    digest = blake2b(f"{purpose} {seed} {rank} {step}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
