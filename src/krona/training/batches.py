"""Samplers: an epoch's order, batches of about one length, and evaluation from short to long."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, Sampler

from krona.tasks import Tokenised
from krona.training.ranks import Ranks

WINDOW = 50  # batches among whose rows lengths are sorted: enough for even batches, little enough to stay random


class EpochOrder(Sampler[int]):
    """The order of an epoch's rows: a permutation that depends on the seed and the epoch alone."""

    def __init__(self, rows: int, *, seed: int) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch, a resumed one included."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def epoch_seed(self) -> int:
        return mixed_seed(self.seed, self.epoch)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.epoch_seed())
        return iter(torch.randperm(self.rows, generator=generator).tolist())


def mixed_seed(seed: int, count: int) -> int:
    """One seed from two numbers, far apart for neighbours (64-bit golden-ratio hashing)."""
    return (seed * 0x9E3779B97F4A7C15 + (count + 1) * 0xC2B2AE3D27D4EB4F) % 2**63


class BucketedBatches(Sampler[list[int]]):
    """Batches of rows of about one length: each row once an epoch, the order a function of the seed and the epoch.

    The epoch's permutation is cut into windows of ``WINDOW`` batches; in each, rows are sorted by length (ties keep the
    permutation's order) and cut into batches; then the epoch's batches are shuffled. Unlike the paper's, a batch's rows
    then depend on their length: off by default.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size = lengths, batch_size
        self.sampler = EpochOrder(len(lengths), seed=seed)  # under this name Lightning finds it to set the epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order, window = list(self.sampler), WINDOW * self.batch_size
        batches: list[list[int]] = []
        for start in range(0, len(order), window):
            rows = sorted(order[start : start + window], key=self.lengths.__getitem__)
            batches += [rows[at : at + self.batch_size] for at in range(0, len(rows), self.batch_size)]
        drawn = torch.Generator().manual_seed(self.sampler.epoch_seed() ^ 1)  # not the permutation's own numbers
        for number in torch.randperm(len(batches), generator=drawn).tolist():
            yield batches[number]


Batches = BatchSampler | BucketedBatches


class ShareOfBatches(Sampler[list[int]]):
    """One rank's rows of every batch; all ranks' rows together are the batch.

    If the number of ranks does not divide a batch, some ranks have one row fewer; of a small last batch, none.
    """

    def __init__(self, batches: Batches, ranks: Ranks) -> None:
        self.batches, self.ranks = batches, ranks
        self.sampler = batches.sampler  # under this name Lightning finds it to set the epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield batch[self.ranks.rank :: self.ranks.size]


class ShortToLong(Sampler[list[int]]):
    """All rows by length, so that an evaluation's batches hold little padding; each rank takes every size-th batch.

    Batches are shared out evenly, because all wait for the slowest rank; of a few rows some ranks may have none.
    ``order``: this rank's rows in the order of evaluation.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, ranks: Ranks) -> None:
        rows = sorted(range(len(lengths)), key=lengths.__getitem__)
        size = max(1, min(batch_size, -(-len(rows) // ranks.size)))  # few rows: a batch a rank, or none
        batches = [rows[at : at + size] for at in range(0, len(rows), size)]
        self.batches = batches[ranks.rank :: ranks.size]
        self.order = [row for batch in self.batches for row in batch]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def source_lengths(tokens: Tokenised) -> list[int]:
    """Tokens of each row's source."""
    import pyarrow.compute

    table: Any = tokens.rows.data
    lengths: list[int] = pyarrow.compute.list_value_length(table.column("input_ids")).to_pylist()
    return lengths
