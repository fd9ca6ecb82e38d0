"""Build the batches of token ids for pretraining, from the generated examples or from the lines of a text file."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from random import Random

import torch
from transformers import T5Tokenizer

import corpus
from krona.backbones.families.padding import pad_batch
from krona.backbones.pretraining_loss import EXTRA_IDS, corrupt, read_lines
from passages import Example

WINDOW = 16  # number of batches whose examples are drawn together and sorted by length
Row = dict[str, list[int]]  # `input_ids` and `labels`, both with the end-of-sequence token


def make_batches(
    tokenizer: T5Tokenizer,
    *,
    batch_size: int,
    max_length: int = 64,
    seed: int = 0,
    start: int = 0,
    data_path: Path | None = None,
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the batches from step `start` on. The examples of a batch have similar lengths."""
    first = start // WINDOW
    items = draw_items(data_path, seed, start=first * WINDOW * batch_size)
    for block in count(first):
        rng = Random(f"batches {seed} {block}")
        drawn = list(islice(items, WINDOW * batch_size))
        coded = encode(drawn, tokenizer, rng, max_length)
        coded.sort(key=lambda row: (len(row["labels"]) > 8, len(row["input_ids"])))
        order = rng.sample(range(WINDOW), WINDOW)
        for place in order[start - block * WINDOW :] if block == first else order:
            yield pad_batch(coded[place * batch_size : (place + 1) * batch_size], tokenizer.pad_token_id)


def encode(items: list[Example], tokenizer: T5Tokenizer, rng: Random, max_length: int) -> list[Row]:
    """Return the token ids of the sources and targets. Spans are corrupted in examples without a target."""
    end = tokenizer.eos_token_id
    sentinels = [tokenizer.get_vocab()[f"<extra_id_{i}>"] for i in range(EXTRA_IDS)]
    sources: list[list[int]] = tokenizer([item.source for item in items], add_special_tokens=False)["input_ids"]
    targets = [item.target or "" for item in items]
    answers: list[list[int]] = tokenizer(targets, add_special_tokens=False)["input_ids"]
    rows: list[Row] = []
    for item, source, target in zip(items, sources, answers, strict=True):
        ids = source[: max_length - 1]
        if item.target is None:
            ids, target = corrupt(ids, sentinels, rng)
        rows.append({"input_ids": [*ids, end], "labels": [*target, end]})
    return rows


def draw_items(data_path: Path | None, seed: int, *, start: int = 0) -> Iterator[Example]:
    """Yield an endless sequence of examples from number `start` on.

    The examples are generated. If `data_path` is given, they are random lines of that text file.
    """
    if data_path is None:
        yield from corpus.examples(seed, start=start)
        return
    lines = read_lines(data_path)
    for index in count(start):
        text = Random(f"line {seed} {index}").choice(lines)
        yield Example(text, None, (text,))
