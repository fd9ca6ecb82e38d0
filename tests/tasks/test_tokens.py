"""Test token ids: the number of cut sources, uncut targets, and one cache for runs that start at the same time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from krona.backbones.families.encoder import Encoder
from krona.backbones.families.encoder_decoder import EncoderDecoder
from krona.backbones.families.family import pad_batch
from krona.messages import KronaError
from krona.tasks import Split, tokenise
from tasks import glue_files
from tiny_backbones import words

END = 1


class Letters:
    """A tokenizer whose tokens are letters, with T5's end token. It counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, text: str | Sequence[str], *, max_length: int = 10_000, **_: Any) -> dict[str, Any]:
        self.calls += 1
        if not isinstance(text, str):
            return {"input_ids": [self(one, max_length=max_length)["input_ids"] for one in text]}
        letters = [ord(letter) for letter in text[: max_length - 1]]
        return {"input_ids": [*letters, END]}


def tokens(tmp_path: Path, tokenizer: Letters, *, rows: int = 5, length: int = 4, name: str = "t") -> Any:
    split = Split(
        ids=[f"train-{i}" for i in range(rows)],
        sources=["x" * (i + 1) for i in range(rows)],
        targets=["not so short" if i % 2 else "0" for i in range(rows)],
        texts=[],
    )
    return tokenise(
        split,
        EncoderDecoder(None, tokenizer),
        max_source_length=length,
        cache_dir=tmp_path / "cache",
        tokenizer_fingerprint=name,
    )


def test_cut_sources_are_counted_and_targets_stay_whole(tmp_path: Path) -> None:
    got = tokens(tmp_path, Letters())
    assert len(got) == 5
    assert got.rows[2] == {"input_ids": [120, 120, 120, END], "labels": [48, END]}  # just fits
    assert got.rows[3]["input_ids"] == [120, 120, 120, END]
    assert len(got.rows[3]["labels"]) == len("not so short") + 1
    assert got.truncated == 2
    assert tokens(tmp_path, Letters(), length=6).truncated == 0


def test_many_batches_keep_their_order(tmp_path: Path) -> None:
    got = tokens(tmp_path, Letters(), rows=2100, length=3000)
    assert [len(row["input_ids"]) for row in got.rows] == [i + 2 for i in range(2100)]


def test_the_second_run_reads_the_cache(tmp_path: Path) -> None:
    first = tokens(tmp_path, Letters(), rows=50)
    tokenizer = Letters()
    again = tokens(tmp_path, tokenizer, rows=50)
    assert tokenizer.calls < 10  # of the labels
    assert (list(again.rows), again.truncated) == (list(first.rows), first.truncated)
    for change in ({"length": 5}, {"rows": 49}, {"name": "u"}):
        tokenizer.calls = 0
        tokens(tmp_path, tokenizer, **{"rows": 50, **change})
        assert tokenizer.calls > 40


def test_an_encoder_distinguishes_the_columns_of_equal_sources(tmp_path: Path) -> None:
    found = []
    for texts in [("a b", "c")], [("a", "b c")]:
        some = Split(ids=["a"], sources=["a b c"], targets=["0"], texts=texts)
        family: Any = Encoder(glue_files.task("rte"), words(pair=True))
        found.append(tokenise(some, family, max_source_length=9, cache_dir=tmp_path, tokenizer_fingerprint="w"))
    assert list(found[0].rows["token_type_ids"]) != list(found[1].rows["token_type_ids"])


def test_an_encoder_joins_the_columns_after_the_first(tmp_path: Path) -> None:
    tokenizer = words(pair=True)
    some = Split(ids=["a"], sources=["a b c"], targets=["0"], texts=[("a", "b", "c")])
    family: Any = Encoder(glue_files.task("rte", columns=["x", "y", "z"], template="{x} {y} {z}"), tokenizer)
    got = tokenise(some, family, max_source_length=12, cache_dir=tmp_path, tokenizer_fingerprint="w")
    assert tokenizer.decode(got.rows["input_ids"][0]) == "[CLS] a [SEP] b [SEP] c [SEP]"
    assert got.rows["token_type_ids"][0] == [0, 0, 0, 1, 1, 1, 1]


def test_a_tokenizer_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    class Broken(Letters):
        def __call__(self, text: Any, **arguments: Any) -> dict[str, Any]:
            if not isinstance(text, str) and len(text) > 1:
                raise RuntimeError("stop")
            return super().__call__(text, **arguments)

    with pytest.raises(RuntimeError, match="stop"):
        tokens(tmp_path, Broken())
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_cache_and_an_unwritable_one_are_one_message(tmp_path: Path) -> None:
    tokens(tmp_path, Letters())
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(KronaError, match=rf"token cache {file} cannot be used: .* remove it"):
        tokens(tmp_path, Letters())
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "cache").write_text("x")
    with pytest.raises(KronaError, match="cannot be used"):
        tokens(tmp_path / "file", Letters())


def test_batches_are_padded_to_their_longest() -> None:
    rows = [{"input_ids": [5, 6, 1], "labels": [7, 1]}, {"input_ids": [5, 1], "labels": [8, 9, 1]}]
    batch = pad_batch(rows, 0)
    assert batch["input_ids"].tolist() == [[5, 6, 1], [5, 1, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[7, 1, -100], [8, 9, 1]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    inside = pad_batch([{"input_ids": [0, 5, 1], "labels": [1]}], 0)  # a text may contain the padding token
    assert inside["attention_mask"].tolist() == [[1, 1, 1]]


TOKENIZER = Path(__file__).parents[3] / "shared" / "t5-base-tokenizer"


@pytest.mark.skipif(not TOKENIZER.is_dir(), reason="T5's tokenizer is not at ../shared/t5-base-tokenizer")
def test_cuts_are_those_of_t5s_own_tokenizer(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    texts = ["sentence: " + "The quick fox is not as quick as all that. " * n for n in (1, 2, 60)]
    some = Split(ids=["a", "b", "c"], sources=texts, targets=["0", "1", "2"], texts=[])
    family: Any = EncoderDecoder(None, tokenizer)
    got = tokenise(some, family, max_source_length=24, cache_dir=tmp_path, tokenizer_fingerprint="t5")
    assert list(got.rows["input_ids"]) == tokenizer(texts, truncation=True, max_length=24)["input_ids"]
    assert got.truncated == sum(len(ids) > 24 for ids in tokenizer(texts, verbose=False)["input_ids"]) == 2
    assert list(got.rows["labels"]) == [[3, 632, 1], [209, 1], [204, 1]]
