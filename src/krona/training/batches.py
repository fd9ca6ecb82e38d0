"""Batch samplers: shuffled batches for training, and batches sorted by length for evaluation."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import Sampler

from krona.random_streams import stream_seed
from krona.tasks import Tokenised
from krona.tasks.splits import permutation
from krona.training.devices import Ranks

WINDOW = 50  # number of batches in a window (`TrainingBatches`)


class TrainingBatches(Sampler[list[int]]):
    """The batch sampler for a training epoch.

    The order of the rows depends only on the seed and the epoch. A resumed run therefore repeats the same order.

    If ``lengths`` is given, each batch contains rows of similar length. The shuffled rows are divided into windows of
    `WINDOW` batches. The rows of each window are sorted by length and divided into batches. Finally, all batches are
    shuffled. In the paper, by contrast, batches do not depend on the lengths of the rows.

    Each batch of ``batch_size`` rows is divided among all ranks. If the number of rows is not divisible by the number
    of ranks, some ranks get one row fewer than others, and may get no row of the last batch.

    If ``limit`` is given, an epoch ends after at most this number of rows.
    """

    def __init__(
        self,
        num_rows: int,
        *,
        batch_size: int,
        seed: int,
        lengths: Sequence[int] | None = None,
        ranks: Ranks | None = None,
        limit: int | None = None,
    ) -> None:
        self.num_rows, self.batch_size, self.seed, self.lengths = num_rows, batch_size, seed, lengths
        self.limit = num_rows if limit is None else min(num_rows, limit)
        self.ranks = ranks or Ranks()
        self.epoch = 0
        self.sampler = self  # Lightning calls the method `set_epoch` of a batch sampler's attribute ``sampler``

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch. Lightning calls this method before each epoch, also in a resumed run."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.limit // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        left = self.limit
        for batch in self._batches(self.epoch)[: len(self)]:
            yield batch[:left][self.ranks.rank :: self.ranks.size]
            left -= len(batch)

    def first_epoch(self) -> list[int]:
        """Return all ranks' rows of the first epoch, in training order."""
        return [row for batch in self._batches(epoch=0) for row in batch][: self.limit]

    def _batches(self, epoch: int) -> list[list[int]]:
        order = permutation(self.num_rows, stream_seed("rows", self.seed, step=epoch))
        if self.lengths is None:
            return _chunks(order, self.batch_size)
        batches: list[list[int]] = []
        for window in _chunks(order, WINDOW * self.batch_size):
            batches += _chunks(sorted(window, key=self.lengths.__getitem__), self.batch_size)
        batch_order = permutation(len(batches), stream_seed("batches", self.seed, step=epoch))
        return [batches[index] for index in batch_order]


class EvaluationBatches(Sampler[list[int]]):
    """The batch sampler for evaluation. All rows are sorted by length, so that batches need little padding.

    With N ranks, each rank evaluates every N-th batch. Smaller batches are used if they divide the work more evenly,
    because all ranks wait for the slowest rank. If there are fewer rows than ranks, some ranks get no batch.

    Attributes:
        order: the positions of this rank's rows in the split, in the order in which the rows are evaluated.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, ranks: Ranks) -> None:
        rows = sorted(range(len(lengths)), key=lengths.__getitem__)
        size = max(1, min(batch_size, -(-len(rows) // ranks.size)))
        self.batches = _chunks(rows, size)[ranks.rank :: ranks.size]
        self.order = [row for batch in self.batches for row in batch]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def source_lengths(tokens: Tokenised) -> list[int]:
    """Return the number of source tokens of each row."""
    import pyarrow.compute

    table: Any = tokens.rows.data
    lengths: list[int] = pyarrow.compute.list_value_length(table.column("input_ids")).to_pylist()
    return lengths


def _chunks(rows: Sequence[int], size: int) -> list[list[int]]:
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]
