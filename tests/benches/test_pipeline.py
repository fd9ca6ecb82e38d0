"""Test bench=pipeline on files in GLUE's layout, with three ways to make batches."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benches.bench_runner import run
from benchmarks import pipeline
from benchmarks.settings import Bench
from krona.backbones.families.padding import pad_batch
from krona.messages import KronaError
from krona.paths import NANO
from tasks import glue_files


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    for name in ("cola", "rte"):
        glue_files.write(tmp_path / "glue", name)
    return {"data": str(tmp_path / "glue"), "tokenizer": str(NANO), "tasks": ["cola", "rte"]}


def test_rows(tmp_path: Path, options: dict[str, Any]) -> None:
    content = run(tmp_path / "out", name="pipeline", methods=["krona"], batch_size=4, options=options)
    rows = {row["name"]: row for row in content["rows"]}
    ways = ("padded to 128", "longest", "bucketed")
    assert list(rows) == [f"{task}/{way}" for task in ("cola", "rte") for way in ways]
    for task in ("cola", "rte"):
        assert rows[f"{task}/padded to 128"]["ratio_to_padded"] == 1
        assert all(rows[f"{task}/{way}"]["real_tokens_per_s"] > 0 for way in ways)


class Lengths:
    """Rows with given lengths, in the format of `Tokenised`."""

    def __init__(self, lengths: list[int]) -> None:
        self.rows = [{"input_ids": [7] * length, "labels": [8, 1]} for length in lengths]

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        return self.rows[row]


@pytest.mark.parametrize("width", [9, None])
def test_a_step_pads_and_counts_tokens_without_padding(width: int | None) -> None:
    seen: list[torch.Size] = []

    class Model(torch.nn.Linear):
        def forward(self, batch: Any) -> Any:
            seen.append(batch["input_ids"].shape)
            return self.weight.sum()

    rows: Any = Lengths([3, 5, 2])
    real: list[int] = []
    family: Any = SimpleNamespace(
        collate=lambda rows: pad_batch(rows, 0), summed_loss=lambda model, batch: model(batch), answer_follows=False
    )
    step = pipeline.timed_step(family, Model(1, 1), rows, iter([[0, 1, 2]]), real, length=width)
    assert step() > 0
    assert real == [10]
    assert seen == [(3, width or 5)]


def test_bucketed_batches_waste_less_than_plain_ones() -> None:
    lengths = [1 + 37 * i % 50 for i in range(64)]
    bench = Bench(name="pipeline", rounds=1, batch_size=8)
    plain, bucketed = (list(itertools.islice(pipeline.full_batches(bench, 64, of), 8)) for of in (None, lengths))
    assert sorted(itertools.chain(*plain)) == sorted(itertools.chain(*bucketed)) == list(range(64))

    def padded(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)

    assert padded(bucketed) < 0.8 * padded(plain)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, r"bench\.options\.data=null is not a folder.*bench\.options\.data=FOLDER"),
        ({"tokenizer": "/nowhere"}, r"bench\.options\.tokenizer=/nowhere is not a folder"),
        ({"tasks": ["mrpc"]}, r"MRPC"),
    ],
)
def test_missing_files_are_refused(
    tmp_path: Path, options: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(KronaError, match=message):
        run(tmp_path / "out", name="pipeline", methods=["krona"], options=options | changes)


def test_one_method_and_rows_for_a_batch(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(KronaError, match=r"bench\.methods=\['krona', 'lora'\] must name one method for this benchmark"):
        run(tmp_path / "out", name="pipeline", methods=["krona", "lora"], options=options)
    with pytest.raises(KronaError, match=r"bench\.batch_size=50 is larger than cola, which has 12 rows"):
        run(tmp_path / "out", name="pipeline", methods=["krona"], batch_size=50, options=options)
