"""Which rows make a batch: an epoch's order, batches of about one length, and evaluation from short to long."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from krona.learner import EpochOrder
from krona.tasks import Tokenised

WINDOW = 50  # batches among whose rows lengths are sorted: enough for even batches, little enough to stay random


class BucketedBatches(Sampler[list[int]]):
    """Batches of rows of about one length: each row once an epoch, the order a function of the seed and the epoch.

    The epoch's permutation is cut into windows of ``WINDOW`` batches; in each, rows are sorted by length (ties stay in
    the permutation's order), cut into batches, and the epoch's batches are shuffled. A batch's composition is then no
    longer independent of length, which the paper's is: off by default.
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


class ShortToLong(Sampler[int]):
    """All rows, by length: an evaluation's batches hold little padding. ``order`` puts predictions back."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.order = sorted(range(len(lengths)), key=lengths.__getitem__)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)


def source_lengths(tokens: Tokenised) -> list[int]:
    """Tokens of each row's source."""
    import pyarrow.compute

    table: Any = tokens.rows.data
    lengths: list[int] = pyarrow.compute.list_value_length(table.column("input_ids")).to_pylist()
    return lengths
