"""Batches for pretraining: examples of the corpus, or lines of a user's text, as token ids."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from random import Random

import torch
from transformers import T5Tokenizer

from krona.backbones.families.encoder_decoder import collate
from krona.backbones.pretraining import corpus
from krona.backbones.pretraining.passages import Document
from krona.backbones.pretraining.vocabulary import EXTRA_IDS, corrupt
from krona.messages import KronaError

WINDOW = 16  # batches that are drawn and sorted by length at a time
Row = dict[str, list[int]]  # input_ids and labels, ends of sequence included


def make_batches(
    tokenizer: T5Tokenizer,
    *,
    batch_size: int,
    max_length: int = 64,
    seed: int = 0,
    start: int = 0,
    data_path: Path | None = None,
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches from step `start` on; examples of about one length go together."""
    first = start // WINDOW
    items = draw_items(data_path, seed, start=first * WINDOW * batch_size)
    for block in count(first):
        rng = Random(f"batches {seed} {block}")
        drawn = list(islice(items, WINDOW * batch_size))
        coded = encode(drawn, tokenizer, rng, max_length)
        coded.sort(key=lambda row: (len(row["labels"]) > 8, len(row["input_ids"])))
        order = rng.sample(range(WINDOW), WINDOW)
        for place in order[start - block * WINDOW :] if block == first else order:
            yield collate(coded[place * batch_size : (place + 1) * batch_size], tokenizer.pad_token_id)


def encode(items: list[corpus.Example | Document], tokenizer: T5Tokenizer, rng: Random, max_length: int) -> list[Row]:
    """Token ids of sources and targets; documents are corrupted here."""
    end = tokenizer.eos_token_id
    sentinels = [tokenizer.get_vocab()[f"<extra_id_{i}>"] for i in range(EXTRA_IDS)]
    texts = [item.text if isinstance(item, Document) else item.source for item in items]
    targets = [item.target if isinstance(item, corpus.Example) else "" for item in items]
    sources: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    answers: list[list[int]] = tokenizer(targets, add_special_tokens=False)["input_ids"]
    rows: list[Row] = []
    for item, source, target in zip(items, sources, answers, strict=True):
        ids = source[: max_length - 1]
        if isinstance(item, Document):
            ids, target = corrupt(ids, sentinels, rng)
        rows.append({"input_ids": [*ids, end], "labels": [*target, end]})
    return rows


def draw_items(data_path: Path | None, seed: int, *, start: int = 0) -> Iterator[corpus.Example | Document]:
    """Endless examples from number `start` on: of the corpus, or lines of a text file."""
    if data_path is None:
        yield from corpus.examples(seed, start=start)
        return
    lines = read_lines(data_path)
    for index in count(start):
        text = Random(f"line {seed} {index}").choice(lines)
        yield Document(text, (text,))


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank. Raises `KronaError` where there are none to read."""
    if not path.is_file():
        raise KronaError(f"data.path={path} is no file; give a text file, one passage a line")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise KronaError(f"{path} is not UTF-8 (byte {error.start}); convert it first") from None
    lines = [line for line in lines if line]
    if not lines:
        raise KronaError(f"{path} has no text; give a file with one passage a line")
    return lines
