"""Batches: the shuffled rows of a training epoch, rows of similar length, and the order of an evaluation."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from krona.tasks import Tokenised
from krona.training.ranks import Ranks

WINDOW = 50  # batches among which rows are sorted by length: even batches, and still random ones


class TrainingBatches(Sampler[list[int]]):
    """The batches of an epoch. Their order depends on the seed and the epoch only, so a resumed run repeats it.

    With ``lengths``, a batch has rows of similar length. The shuffled rows are cut into windows of `WINDOW` batches,
    sorted by length within each window and cut into batches, which are then shuffled. Which rows share a batch then
    depends on their length, unlike in the paper.

    Args:
        rows: number of rows.
        batch_size: rows of a batch, over all ranks.
        lengths: tokens of each row; None: batches of random rows.
        ranks: each rank gets its rows of every batch. If the number of ranks does not divide a batch, some ranks have
            one row fewer; of a small last batch, none.
    """

    def __init__(
        self, rows: int, *, batch_size: int, seed: int, lengths: Sequence[int] | None = None, ranks: Ranks | None = None
    ) -> None:
        self.rows, self.batch_size, self.seed, self.lengths = rows, batch_size, seed, lengths
        self.ranks = ranks or Ranks()
        self.epoch = 0
        self.sampler = self  # Lightning looks for `set_epoch` here

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch. Lightning calls this before each epoch, also in a resumed run."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches():
            yield batch[self.ranks.rank :: self.ranks.size]

    def _batches(self) -> list[list[int]]:
        seed = mix_seeds(self.seed, self.epoch)
        order = _permutation(self.rows, seed)
        if self.lengths is None:
            return _cut(order, self.batch_size)
        batches: list[list[int]] = []
        for window in _cut(order, WINDOW * self.batch_size):
            batches += _cut(sorted(window, key=self.lengths.__getitem__), self.batch_size)
        return [batches[number] for number in _permutation(len(batches), seed ^ 1)]  # not the numbers of the rows


class ShortToLong(Sampler[list[int]]):
    """The batches of an evaluation: all rows sorted by length, so that there is little padding.

    Each rank takes every size-th batch. The batches are shared evenly, because all ranks wait for the slowest; of a few
    rows, some ranks may have none.

    Attributes:
        order: this rank's rows, in the order of the evaluation.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, ranks: Ranks) -> None:
        rows = sorted(range(len(lengths)), key=lengths.__getitem__)
        size = max(1, min(batch_size, -(-len(rows) // ranks.size)))
        self.batches = _cut(rows, size)[ranks.rank :: ranks.size]
        self.order = [row for batch in self.batches for row in batch]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def mix_seeds(seed: int, number: int) -> int:
    """Return a seed for two numbers. Neighbouring numbers give distant seeds (64-bit golden-ratio hashing)."""
    return (seed * 0x9E3779B97F4A7C15 + (number + 1) * 0xC2B2AE3D27D4EB4F) % 2**63


def source_lengths(tokens: Tokenised) -> list[int]:
    """Return the number of source tokens of each row."""
    import pyarrow.compute

    table: Any = tokens.rows.data
    lengths: list[int] = pyarrow.compute.list_value_length(table.column("input_ids")).to_pylist()
    return lengths


def _permutation(count: int, seed: int) -> list[int]:
    numbers: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return numbers


def _cut(rows: Sequence[int], size: int) -> list[list[int]]:
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]
