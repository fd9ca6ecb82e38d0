"""The sample tasks as files in the layout of GLUE's own download, so that every reader of GLUE reads them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from krona.tasks.sample.clauses import Row

FOLDERS = {
    "cola": "CoLA", "rte": "RTE", "mrpc": "MRPC", "sst2": "SST-2", "stsb": "STS-B", "mnli": "MNLI", "qnli": "QNLI",
    "qqp": "QQP",
}  # fmt: skip
INFERENCE = ("entailment", "not_entailment")
MNLI_WORDS = ("entailment", "neutral", "contradiction")

HEADERS: dict[str, tuple[str, ...]] = {
    "cola": (),
    "rte": ("index", "sentence1", "sentence2", "label"),
    "mrpc": ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
    "sst2": ("sentence", "label"),
    "stsb": (
        "index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score",
    ),
    "mnli": (
        "index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse",
        "sentence2_parse", "sentence1", "sentence2", "label1", "gold_label",
    ),
    "qnli": ("index", "question", "sentence", "label"),
    "qqp": ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
}  # fmt: skip


MNLI_FILES = {"dev": "dev_mismatched", "test": "dev_matched"}
MNLI_LABELS = 2  # the last columns of its files


def _fields(task: str, row: Row) -> list[str]:
    at, label = str(row["idx"]), str(row["label"])
    if task == "cola":
        return ["smp0", label, "" if label == "1" else "*", str(row["sentence"])]
    if task == "sst2":
        return [str(row["sentence"]), label]
    first, second = (str(value) for name, value in row.items() if name not in ("label", "idx"))
    number = int(row["idx"])
    ids = [str(2 * number), str(2 * number + 1)]
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


def write(folder: Path, tasks: Iterable[str] | None = None) -> list[Path]:
    """Write `folder/RTE/train.tsv` and so on for the tasks (all eight by default); the paths written.

    MNLI has `dev_matched.tsv` (the sample's test) and `dev_mismatched.tsv` (its dev), as GLUE's protocol reads
    them, and the same rows without labels as `test_matched.tsv` and `test_mismatched.tsv`; the other tasks have
    train.tsv, dev.tsv and test.tsv with labels.
    """
    from krona.tasks.sample import SPLIT_ROWS, TASKS, generate

    written: list[Path] = []
    for task in TASKS if tasks is None else tasks:
        for split in SPLIT_ROWS:
            name = MNLI_FILES.get(split, split) if task == "mnli" else split
            lines: list[Sequence[str]] = [HEADERS[task]] if HEADERS[task] else []
            lines += [_fields(task, row) for row in generate(task, split)]
            path = folder / FOLDERS[task] / f"{name}.tsv"
            written.append(_write(path, lines))
            if name in MNLI_FILES.values():
                unlabelled = path.with_name(f"{name.replace('dev', 'test')}.tsv")
                written.append(_write(unlabelled, [fields[:-MNLI_LABELS] for fields in lines]))
    return written


def _write(path: Path, lines: Iterable[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(fields) + "\n" for fields in lines), encoding="utf-8")
    return path
