"""Sample tasks: eight small tasks shaped like GLUE's, made by rule, for trying things without any download.

The English is controlled and the sentences are this project's own; a label follows from the meaning or the form of
the text (`lexicon`, `clauses`, `edits`), never from a word alone. Scores on them are no GLUE scores.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

from krona.messages import KronaError
from krona.tasks.sample import pairs, questions, sentences
from krona.tasks.sample.clauses import Row
from krona.tasks.sample.files import write as write

TASKS = ("cola", "rte", "mrpc", "sst2", "stsb", "mnli", "qnli", "qqp")
SPLIT_ROWS = {"train": 2000, "dev": 200, "test": 400}
FINGERPRINT = "sample-1-315002c8a97a"
"""Names the data: a test compares it with `content_hash()`, so it cannot be forgotten when a generator changes."""

MAKERS: dict[str, Callable[[Random], Row]] = {
    "cola": sentences.cola, "rte": pairs.rte, "mrpc": pairs.mrpc, "sst2": sentences.sst2,
    "stsb": pairs.stsb, "mnli": pairs.mnli, "qnli": questions.qnli, "qqp": questions.qqp,
}  # fmt: skip
SEED = 2022  # fixed: the data never depends on a run's seed


def generate(task: str, split: str, rows: int | None = None) -> list[Row]:
    """The rows of one split, always the same: GLUE's text columns, `label` (id, or a score for stsb) and `idx`.

    `rows` asks for the first so many of a split, or of train for more than its usual number.
    Splits share no pair of texts, in either order. Raises `KronaError` for an unknown task or split.
    """
    if task not in TASKS:
        raise KronaError(f"no sample task {task!r}; there are {', '.join(TASKS)}")
    if split not in SPLIT_ROWS:
        raise KronaError(f"no split {split!r} of sample task {task!r}; there are {', '.join(SPLIT_ROWS)}")
    wanted = SPLIT_ROWS[split] if rows is None else rows
    if wanted < 0 or (split != "train" and wanted > SPLIT_ROWS[split]):
        raise KronaError(f"sample {task} {split} has {SPLIT_ROWS[split]} rows, {wanted} were asked for")
    first = {"test": 0, "dev": SPLIT_ROWS["test"], "train": SPLIT_ROWS["test"] + SPLIT_ROWS["dev"]}[split]
    chosen = islice(distinct_rows(task), first, first + wanted)
    return [{**row, "idx": index} for index, row in enumerate(chosen)]


def distinct_rows(task: str) -> Iterator[Row]:
    """The endless stream of a task's rows, no two with the same texts; test, dev and train are cut from it in turn."""
    rng, seen = Random(f"{SEED} {task}"), set[frozenset[str]]()
    while True:
        row = MAKERS[task](rng)
        key = texts_key(row)
        if key not in seen and (len(key) > 1 or len(row) == 2):
            seen.add(key)
            yield row


def texts_key(row: Row) -> frozenset[str]:
    """The texts of a row without order, case or punctuation: what two splits must not share."""
    return frozenset(plain(str(value)) for name, value in row.items() if name not in ("label", "idx"))


def plain(text: str) -> str:
    """A text's words alone."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def content_hash() -> str:
    """A short hash of all rows of all splits at their usual sizes."""
    digest = hashlib.blake2b(digest_size=6)
    for task in TASKS:
        for split in SPLIT_ROWS:
            digest.update(json.dumps(generate(task, split), sort_keys=True).encode())
    return digest.hexdigest()
