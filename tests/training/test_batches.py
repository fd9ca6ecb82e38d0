"""Test batches: the rows of an epoch, their order, their division among ranks, and the order of predictions."""

import random
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from krona.training.data import WINDOW, TrainingBatches
from krona.training.devices import Ranks
from krona.training.evaluation import EvaluationBatches, SplitEvaluation

LENGTHS = random.Random(0).choices(range(3, 60), k=500)


def draw(seed: int = 0, epoch: int = 0, **options: Any) -> list[list[int]]:
    batches = TrainingBatches(len(LENGTHS), **{"batch_size": 10, "seed": seed, **options})
    batches.set_epoch(epoch)
    return list(batches)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 128), max_size=200),
    batch_size=st.integers(1, 9),
    epoch=st.integers(0, 3),
    bucket=st.booleans(),
)
def test_every_row_once_an_epoch(lengths: list[int], batch_size: int, epoch: int, bucket: bool) -> None:
    batches = TrainingBatches(len(lengths), batch_size=batch_size, seed=3, lengths=lengths if bucket else None)
    batches.set_epoch(epoch)
    drawn = list(batches)
    assert sorted(row for batch in drawn for row in batch) == list(range(len(lengths)))
    assert len(drawn) == len(batches)
    assert all(len(batch) <= batch_size for batch in drawn)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_the_order_depends_on_seed_and_epoch_only(lengths: list[int] | None) -> None:
    first = draw(0, 2, lengths=lengths)
    torch.manual_seed(99)  # torch's global generator has no effect
    assert draw(0, 2, lengths=lengths) == first
    assert draw(0, 3, lengths=lengths) != first
    assert draw(1, 2, lengths=lengths) != first


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_a_limit_cuts_the_epoch_within_a_batch(lengths: list[int] | None) -> None:
    whole = draw(lengths=lengths)
    assert draw(lengths=lengths, limit=25) == [*whole[:2], whole[2][:5]]
    assert draw(lengths=lengths, limit=999) == whole
    assert draw(lengths=lengths, limit=0) == []


def test_buckets_have_little_padding_in_random_order() -> None:
    longest = [max(LENGTHS[row] for row in batch) for batch in draw(lengths=LENGTHS)]
    padding = sum(longest) * 10 / sum(LENGTHS) - 1
    assert padding < 0.08 < sum(max(LENGTHS[i : i + 10]) for i in range(0, 500, 10)) * 10 / sum(LENGTHS) - 1
    assert longest != sorted(longest)
    assert len(LENGTHS) <= WINDOW * 10


def test_predictions_are_scored_in_the_order_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = EvaluationBatches([5, 2, 9, 2, 7], batch_size=2, ranks=Ranks())
    assert list(sampler) == [[1, 3], [0, 4], [2]]
    monkeypatch.setattr("krona.training.evaluation.compute_scores", lambda metrics, *given, multilabel: given)
    evaluation = SplitEvaluation(
        task=Mock(target_strings=Mock(return_value=["0", "1"]), metrics=["accuracy"]),
        split=Mock(targets=[*"abcde"], groups=[*range(5)]),
        batches=Mock(batch_sampler=sampler),
        family=Mock(scored_labels=2),
        max_label_tokens=1,
        ranks=Ranks(),
    )
    scores = evaluation.score([(text, [float(text), 0.0]) for text in "13042"])
    shares = [[float(row), 0.0] for row in range(5)]
    assert scores["parts"] == ([*"abcde"], [*"01234"], ["0", "1"], [*range(5)], shares)
    assert (scores["predictions"], scores["scores"]) == ([*"01234"], shares)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 60), batch_size=st.integers(1, 9), size=st.integers(1, 5))
def test_ranks_share_every_batch_and_every_evaluation(rows: int, batch_size: int, size: int) -> None:
    ranks = [Ranks(rank, size) for rank in range(size)]
    whole = list(TrainingBatches(rows, batch_size=batch_size, seed=1))
    shares = [list(TrainingBatches(rows, batch_size=batch_size, seed=1, ranks=one)) for one in ranks]
    for number, batch in enumerate(whole):
        assert sorted(row for share in shares for row in share[number]) == sorted(batch)
        assert max(len(share[number]) for share in shares) - min(len(share[number]) for share in shares) <= 1
    evaluated = [EvaluationBatches(LENGTHS[:rows], batch_size=batch_size, ranks=one) for one in ranks]
    assert sorted(row for one in evaluated for row in one.order) == list(range(rows))
    assert all(len(batch) <= batch_size for one in evaluated for batch in one)
    assert max(len(one) for one in evaluated) == -(-rows // (batch_size * size))  # no rank has a batch too many
    assert max(len(one) for one in evaluated) - min(len(one) for one in evaluated) <= 1
