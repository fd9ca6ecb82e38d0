"""Write the files of the sample tasks: small tasks with the columns and labels of GLUE and SuperGLUE, made by rules.

The label of a row follows from the meaning or the form of its text (`lexicon`, `clauses`, `edits`, `causes`, `senses`),
never from a single word. The files have the same layout as the files that GLUE and SuperGLUE provide. The script writes
them into the package:

    python scripts/nano/sample_tasks.py
"""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import causes
import pairs
import questions
import senses
import sentences
from clauses import Row
from krona.tasks.data_sources import sample_files

SPLIT_ROWS = {"train": 2000, "dev": 200, "test": 400}
MAKERS: dict[str, Callable[[Random], Row]] = {
    "cola": sentences.cola, "rte": pairs.rte, "mrpc": pairs.mrpc, "sst2": sentences.sst2,
    "stsb": pairs.stsb, "mnli": pairs.mnli, "qnli": questions.qnli, "qqp": questions.qqp,
    "copa": causes.copa, "wic": senses.wic,
}  # fmt: skip
TASKS = ("cola", "rte", "mrpc", "sst2", "stsb", "mnli", "qnli", "qqp")  # the pretraining holds out their texts
SUPERGLUE = ("copa", "wic")
SEED = 2022  # fixed, because the data must not depend on the seed of a run

HEADERS = {
    "cola": None,
    "rte": "index sentence1 sentence2 label",
    "mrpc": "Quality,#1 ID,#2 ID,#1 String,#2 String",
    "sst2": "sentence label",
    "stsb": "index genre filename year old_index source1 source2 sentence1 sentence2 score",
    "mnli": "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
    "sentence1 sentence2 label1 gold_label",
    "qnli": "index question sentence label",
    "qqp": "id qid1 qid2 question1 question2 is_duplicate",
}
INFERENCE = ("entailment", "not_entailment")
MNLI_WORDS = ("entailment", "neutral", "contradiction")
MNLI_LABELS = 2  # number of label columns at the end of MNLI's files; test_matched and test_mismatched have none


@cache
def generate(task: str, split: str) -> list[Row]:
    """Return the rows of one split of a task.

    A row has GLUE's text columns, `label` (an id, or a score for stsb) and `idx`. The same texts never occur in two
    splits, not even in another order.
    """
    first = {"test": 0, "dev": SPLIT_ROWS["test"], "train": SPLIT_ROWS["test"] + SPLIT_ROWS["dev"]}[split]
    chosen = islice(distinct_rows(task), first, first + SPLIT_ROWS[split])
    return [{**row, "idx": index} for index, row in enumerate(chosen)]


def distinct_rows(task: str) -> Iterator[Row]:
    """Yield an endless sequence of rows of a task. No two rows have the same texts.

    The first rows are the test split, the next rows are the dev split, and then follows the training split.
    """
    rng, seen = Random(f"{SEED} {task}"), set[frozenset[str]]()
    while True:
        row = MAKERS[task](rng)
        key = texts_key(row)
        if key not in seen and (len(key) > 1 or len(row) == 2):
            seen.add(key)
            yield row


def texts_key(row: Row) -> frozenset[str]:
    """Return the set of a row's texts, without case and punctuation. Different splits must not have equal sets."""
    return frozenset(plain(str(value)) for name, value in row.items() if name not in ("label", "idx"))


def plain(text: str) -> str:
    """Return a text in lower case and without punctuation."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def make_files() -> Iterator[tuple[Path, str]]:
    """Yield the path of each file in the package, which has GLUE's layout, and its uncompressed content."""
    for task in SUPERGLUE:
        for split, path in sample_files(task).items():
            yield path, "".join(json.dumps(_as_json(task, row)) + "\n" for row in generate(task, split))
    for task in TASKS:
        header = HEADERS[task]
        head = [] if header is None else [header.split("," if "," in header else " ")]
        for split, path in sample_files(task).items():
            lines = head + [_fields(task, row) for row in generate(task, split)]
            yield path, _as_tsv(lines)
            if path.name.startswith("dev_"):
                unlabelled = path.with_name(path.name.replace("dev", "test"))
                yield unlabelled, _as_tsv([line[:-MNLI_LABELS] for line in lines])


def _as_json(task: str, row: Row) -> dict[str, str | int | float]:
    return {**row, "label": bool(row["label"])} if task == "wic" else row


def _as_tsv(lines: Sequence[Sequence[str]]) -> str:
    return "".join("\t".join(fields) + "\n" for fields in lines)


def _fields(task: str, row: Row) -> list[str]:
    at, label = str(row["idx"]), str(row["label"])
    if task == "cola":
        return ["smp0", label, "" if label == "1" else "*", str(row["sentence"])]
    if task == "sst2":
        return [str(row["sentence"]), label]
    first, second = (str(value) for name, value in row.items() if name not in ("label", "idx"))
    ids = [str(2 * int(at)), str(2 * int(at) + 1)]
    if task == "mrpc":
        return [label, *ids, first, second]
    if task == "qqp":
        return [at, *ids, first, second, label]
    if task == "stsb":
        return [at, "sample", "sample", "2022", at, "none", "none", first, second, label]
    if task == "mnli":
        word = MNLI_WORDS[int(label)]
        return [at, at, at, "sample", *[""] * 4, first, second, word, word]
    return [at, first, second, INFERENCE[int(label)]]


def main() -> None:
    for path, content in make_files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content.encode(), mtime=0))
        print(path)


if __name__ == "__main__":
    main()
