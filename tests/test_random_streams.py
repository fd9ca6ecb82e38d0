"""Test that the random numbers of a run are independent between purposes, seeds, ranks and steps."""

from itertools import product
from pathlib import Path
from typing import Any, get_args
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from krona import surgery
from krona.random_streams import Purpose, stream_seed
from krona.tasks.splits import permutation
from krona.training.data import TrainingBatches
from krona.training.devices import Ranks
from krona.training.in_python import module_and_loaders
from krona.training.learner import Learner
from one_job import config, typed
from tiny_backbones import write

SEEDS = (0, 1, 2, 7, 7 + 2**32)  # torch's generator on a CPU ignores the higher 32 bits


def largest_correlation(rows: list[Any]) -> float:
    """Return the largest absolute correlation between two rows."""
    correlations = np.corrcoef([np.asarray(row) for row in rows])
    return float(np.abs(correlations - np.eye(len(correlations))).max())


def draw(seed: int) -> torch.Tensor:
    return torch.rand(2000, generator=torch.Generator().manual_seed(seed))


def test_the_seed_is_a_hash_of_the_four_arguments() -> None:
    assert stream_seed("dropout", 7, step=3) == 0x30A1E1D7  # printf 'dropout 7 0 3' | b2sum -l 32
    assert stream_seed("head", 0) == 0x997947D6  # printf 'head 0 0 0' | b2sum -l 32


def test_streams_are_uncorrelated() -> None:
    """The bound is six standard deviations: 36,315 pairs of independent streams exceed it with probability 7e-5."""
    streams = [
        stream_seed(purpose, seed, rank=rank, step=step)
        for purpose, seed, rank, step in product(get_args(Purpose), SEEDS, range(2), range(3))
    ]
    assert len({*streams}) == 270
    assert largest_correlation([draw(stream) for stream in streams]) < 6 / 2000**0.5
    assert largest_correlation([permutation(2000, stream) for stream in streams]) < 6 / 2000**0.5


def test_new_weights_are_uncorrelated(tmp_path: Path) -> None:
    """The width is 512, so the bound is about five standard deviations."""
    backbone = write(tmp_path / "backbone", "bert", hidden_size=512)
    drawn = []
    for seed in (0, 1, 7):
        words = [*typed(backbone, tmp_path / "rte"), "method=lora", f"seed={seed}"]
        state = surgery.trainable_state(module_and_loaders(config(*words))[0].model)
        values = [state["classifier.weight"], *(value for name, value in state.items() if name.endswith(".A"))]
        drawn += [value.detach().flatten()[:512] for value in values]
    assert len(drawn) == 3 * 5
    assert largest_correlation(drawn) < 0.22


@pytest.mark.parametrize("lengths", [None, [*range(2000)]])
def test_orders_are_uncorrelated_between_seeds_and_epochs(lengths: list[int] | None) -> None:
    orders = []
    for seed, epoch in product(SEEDS, range(3)):
        batches = TrainingBatches(2000, batch_size=1, seed=seed, lengths=lengths)
        batches.set_epoch(epoch)
        orders.append([row for batch in batches for row in batch])
    assert largest_correlation(orders) < 6 / 2000**0.5


def test_each_rank_and_step_has_its_own_dropout() -> None:
    masks = []
    for seed, rank, step in product(SEEDS, range(3), range(3)):
        learner: Any = Mock(settings=Mock(seed=seed), ranks=Ranks(rank, 3), global_step=step)
        Learner.on_train_batch_start(learner, {}, 0)
        masks.append(torch.nn.functional.dropout(torch.ones(2000), 0.5))
    assert largest_correlation(masks) < 6 / 2000**0.5
