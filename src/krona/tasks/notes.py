"""Build notes on row properties that may affect the scores, such as skipped rows and repeated texts."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from krona.display_names import BENCHMARKS
from krona.messages import join_names, plural
from krona.tasks.rows import OfficialSplit
from krona.tasks.splits import Splits
from krona.tasks.task import Task

OFFICIAL_ROWS: Mapping[
    str, Mapping[str, int]
] = {  # the number of labelled rows by configuration on the Hub and official split
    "cola": {"train": 8551, "validation": 1043},
    "sst2": {"train": 67349, "validation": 872},
    "mrpc": {"train": 3668, "validation": 408},
    "stsb": {"train": 5749, "validation": 1500},
    "qqp": {"train": 363846, "validation": 40430},
    "qnli": {"train": 104743, "validation": 5463},
    "rte": {"train": 2490, "validation": 277},
    "mnli": {"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832},
    "boolq": {"train": 9427, "validation": 3270},
    "cb": {"train": 250, "validation": 56},
    "copa": {"train": 400, "validation": 100},
    "multirc": {"train": 27243, "validation": 4848},
    "wic": {"train": 5428, "validation": 638},
    "wsc.fixed": {"train": 554, "validation": 104},
}
MAX_LISTED = 20  # maximum number of labels in a note
ADVICE = {  # maps each kind of suspicious text to advice
    "spreadsheet quotes": ". Their quotes are part of the text. To read the fields as in a CSV, set data.quoting=csv",
    "empty texts": "",
}


def official_rows(task: Task, splits: Mapping[str, OfficialSplit]) -> dict[str, list[int]]:
    """Return the number of found rows and the official number, for each official split of a GLUE or SuperGLUE task."""
    official = OFFICIAL_ROWS.get(task.hub_name or "", {}) if task.data_kind in BENCHMARKS else {}
    return {name: [split.rows, official[name]] for name, split in splits.items() if name in official}


def notes(task: Task, splits: Splits) -> list[str]:
    """Return notes on row properties that may affect the scores."""
    # dev and test may share an official split
    used = {split.official.name: split.official for split in splits.by_role.values()}
    return [
        *(note for split in used.values() for note in notes_on_rows(split)),
        *_note_other_rows(task, splits),
        *_note_absent_labels(task, splits),
        *_note_repeated(task, splits),
    ]


def notes_on_rows(split: OfficialSplit) -> Iterator[str]:
    """Yield notes on skipped and suspicious rows of an official split.

    Reports and packs contain these notes, so they name a file without its folder, and contain no text of a row.
    """
    file = Path(split.origin).name
    total = f"of {plural(split.rows + split.skipped_rows, 'row')} of {split.name}"
    if split.skipped:
        counts = [f"{len(rows):,} {kind}, first {file}:{rows[0].split(':')[0]}" for kind, rows in split.skipped.items()]
        yield f"data.skip_bad_rows=true skipped {split.skipped_rows:,} {total}: {'; '.join(counts)}"
    for kind, advice in ADVICE.items():
        if rows := split.suspicious.get(kind):
            yield f"{kind} in {len(rows):,} {total} (first {file}:{rows[0]}){advice}"


def _note_other_rows(task: Task, splits: Splits) -> Iterator[str]:
    other = {name: pair for name, pair in official_rows(task, splits.official).items() if pair[0] != pair[1]}
    if other:
        counts = ", ".join(
            f"{plural(rows, 'row')} of {name} instead of {official:,}" for name, (rows, official) in other.items()
        )
        name = BENCHMARKS[task.data_kind]
        yield f"{name}'s format, but not {name}'s rows: {counts}. The scores are not comparable with scores on {name}."


def _note_absent_labels(task: Task, splits: Splits) -> Iterator[str]:
    """Yield a note for each split that lacks labels. In dev and test, only the labels of train count."""
    targets = splits.counts["train"]["targets"]
    if len(targets) == 1:
        (target,) = targets
        yield f"train has only the target {task.label_name(target)}, so the model learns to predict only this target."
        return
    expected = task.target_strings() or []
    for role, split in splits.by_role.items():
        rows = task.count_labels(split.targets)
        missing = [target for target in expected if not rows[target]]
        effect = "its score therefore does not measure"
        if role == "train":
            expected = [target for target in expected if rows[target]]
            effect = "the model therefore cannot learn to predict"
        if missing:
            names, shown = [*map(task.label_name, missing)], ""
            if len(names) > MAX_LISTED:
                names, shown = names[:3], f"{len(names):,} labels, such as "
            yield f"{role} has no rows of {shown}{join_names(names)}, which {effect}."


def _note_repeated(task: Task, splits: Splits) -> Iterator[str]:
    counts = [
        f"{facts[key]:,} of {plural(facts['rows'], 'row')} of {role} {where}"
        for key, where in (("repeated", "earlier in it"), ("also_in_train", "in train"), ("also_in_dev", "in dev"))
        for role, facts in splits.counts.items()
        if facts.get(key)
    ]
    if counts:
        is_own = task.data_kind == "own" and any(facts.get("also_in_train") for facts in splits.counts.values())
        remedy = (
            " Remove them from one of the files, or name only files.train: krona then keeps equal texts in one split."
        )
        yield f"Repeated source texts: {', '.join(counts)}.{remedy * is_own}"
