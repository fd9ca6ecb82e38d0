"""Build the batches of token ids for pretraining from the generated examples."""

from collections.abc import Iterator
from itertools import count, islice
from random import Random

import torch
from transformers import T5Tokenizer

import corpus
from krona.backbones.families.family import pad_batch
from passages import Example
from vocabulary import EXTRA_IDS

WINDOW = 16  # number of batches whose examples are drawn together and sorted by length
Row = dict[str, list[int]]  # `input_ids` and `labels`, both with the end-of-sequence token


def make_batches(
    tokenizer: T5Tokenizer, *, batch_size: int, max_length: int = 64, seed: int = 0
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches without end. The examples of a batch have similar lengths."""
    items = corpus.examples(seed)
    for block in count():
        rng = Random(f"batches {seed} {block}")
        drawn = list(islice(items, WINDOW * batch_size))
        coded = encode(drawn, tokenizer, rng, max_length)
        coded.sort(key=lambda row: (len(row["labels"]) > 8, len(row["input_ids"])))
        for place in rng.sample(range(WINDOW), WINDOW):
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


def corrupt(ids: list[int], sentinels: list[int], rng: Random, *, density: float = 0.2) -> tuple[list[int], list[int]]:
    """Apply T5's span corruption to a text, and return the source and the target.

    In the source, a sentinel replaces each removed span of one to four tokens. The target contains each sentinel,
    followed by the tokens that it replaces. Source and target have no end-of-sequence token. About the share
    ``density`` of the tokens is removed.
    """
    source, target, at, span = list[int](), list[int](), 0, 0
    chance = density / 2.5 / (1.0 - density)  # 2.5 is the mean length of the spans
    while at < len(ids):
        if span < len(sentinels) and (rng.random() < chance or (span == 0 and at == len(ids) - 1)):
            length = rng.randint(1, 4)
            source.append(sentinels[span])
            target += [sentinels[span], *ids[at : at + length]]
            at, span = at + length, span + 1
            source += ids[at : at + 1]  # so that at least one token is between two spans
            at += 1
        else:
            source.append(ids[at])
            at += 1
    return source, target
