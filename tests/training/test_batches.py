"""Bucketed batches: every row once an epoch, by seed and epoch, of about one length; and predictions put back."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader

import one_job
from krona.runs.run_id import run_id
from krona.training.batches import WINDOW, BucketedBatches, EpochOrder, ShareOfBatches, ShortToLong
from krona.training.evaluation import Evaluation
from krona.training.ranks import Ranks

LENGTHS = random.Random(0).choices(range(3, 60), k=500)


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 128), max_size=200), batch_size=st.integers(1, 9), epoch=st.integers(0, 3))
def test_every_row_once_an_epoch(lengths: list[int], batch_size: int, epoch: int) -> None:
    batches = BucketedBatches(lengths, batch_size=batch_size, seed=3)
    batches.sampler.set_epoch(epoch)
    drawn = list(batches)
    assert sorted(row for batch in drawn for row in batch) == list(range(len(lengths)))
    assert len(drawn) == len(batches)
    assert all(len(batch) <= batch_size for batch in drawn)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        batches = BucketedBatches(LENGTHS, batch_size=8, seed=seed)
        batches.sampler.set_epoch(epoch)
        return list(batches)

    assert order(0, 2) == order(0, 2)
    assert order(0, 2) != order(0, 3)
    assert order(0, 2) != order(1, 2)
    torch.manual_seed(99)  # torch's own generator has no say
    assert order(0, 2) == order(0, 2)


def test_batches_hold_little_padding_and_come_in_no_order_of_length() -> None:
    batches = BucketedBatches(LENGTHS, batch_size=10, seed=0)
    longest = [max(LENGTHS[row] for row in batch) for batch in batches]
    padding = sum(longest) * 10 / sum(LENGTHS) - 1
    assert padding < 0.08 < sum(max(LENGTHS[i : i + 10]) for i in range(0, 500, 10)) * 10 / sum(LENGTHS) - 1
    assert longest != sorted(longest)
    assert len(LENGTHS) <= WINDOW * 10


def test_short_to_long_and_predictions_in_the_rows_order(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = ShortToLong([5, 2, 9, 2, 7], batch_size=2, ranks=Ranks())
    assert list(sampler) == [[1, 3], [0, 4], [2]]
    rows = [{"input_ids": torch.tensor([row]), "attention_mask": torch.ones(1)} for row in range(5)]
    monkeypatch.setattr("krona.training.evaluation.scored", lambda task, split, texts: {"predictions": texts})

    class Answers:
        def answers(self, model: Any, batch: dict[str, torch.Tensor], longest: int) -> list[str]:
            return [f" row {row} " for (row,) in batch["input_ids"].tolist()]

    class Rows(list[int]):
        targets = ("",) * 5

    split: Any = Rows(range(5))
    family: Any = Answers()
    evaluate = Evaluation(
        task=split,
        split=split,
        batches=DataLoader(rows, batch_sampler=sampler),  # type: ignore[arg-type]
        family=family,
        longest_label=1,
        ranks=Ranks(),
    )
    assert evaluate(torch.nn.Linear(1, 1)) == {"predictions": [f"row {row}" for row in range(5)]}


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 60), batch_size=st.integers(1, 9), size=st.integers(1, 5))
def test_ranks_share_every_batch_and_every_evaluation(rows: int, batch_size: int, size: int) -> None:
    ranks = [Ranks(rank, size) for rank in range(size)]
    whole = list(BatchSampler(EpochOrder(rows, seed=1), batch_size, drop_last=False))
    shares = [list(ShareOfBatches(BatchSampler(EpochOrder(rows, seed=1), batch_size, False), one)) for one in ranks]
    for number, batch in enumerate(whole):
        assert sorted(row for share in shares for row in share[number]) == sorted(batch)
        assert max(len(share[number]) for share in shares) - min(len(share[number]) for share in shares) <= 1
    evaluated = [ShortToLong(LENGTHS[:rows], batch_size=batch_size, ranks=one) for one in ranks]
    assert sorted(row for one in evaluated for row in one.order) == list(range(rows))
    assert all(len(batch) <= batch_size for one in evaluated for batch in one)
    assert max(len(one) for one in evaluated) == -(-rows // (batch_size * size))  # the slowest has no batch too many
    assert max(len(one) for one in evaluated) - min(len(one) for one in evaluated) <= 1


def test_of_a_few_rows_a_rank_may_have_none() -> None:
    shares = [ShortToLong([1, 2, 3, 4, 5], batch_size=100, ranks=Ranks(rank, 4)) for rank in range(4)]
    assert [list(share) for share in shares] == [[[0, 1]], [[2, 3]], [[4]], []]


def test_a_run_with_buckets_and_one_that_was_killed(tiny_folder: Path, tmp_path: Path) -> None:
    values = one_job.config(*one_job.typed(tiny_folder, tmp_path / "rte"), "trainer.bucket_by_length=true")
    whole, _ = one_job.run(values, tmp_path / "whole")
    assert whole.state == "done"
    part = {**values, "trainer": {**values["trainer"]}}
    import multiprocessing

    process = multiprocessing.get_context("spawn").Process(
        target=one_job.run_in_a_process, args=(part, str(tmp_path / "part"), ("step", 4))
    )
    process.start()
    process.join()
    assert process.exitcode != 0
    resumed, _ = one_job.run(part, tmp_path / "part")
    assert resumed.state == "done"
    weights = [(folder / "adapter.safetensors").read_bytes() for folder in (whole.folder, resumed.folder)]
    assert weights[0] == weights[1]


def test_off_is_what_a_run_was_before_there_were_buckets() -> None:
    old: dict[str, Any] = {"trainer": {"max_epochs": 3}, "seed": 0}
    off = {"trainer": {"max_epochs": 3, "bucket_by_length": False}, "seed": 0}
    on = {"trainer": {"max_epochs": 3, "bucket_by_length": True}, "seed": 0}
    ids = [run_id(config, data_fingerprint="d", backbone_fingerprint="b") for config in (old, off, on)]
    assert ids[0] == ids[1] != ids[2]
