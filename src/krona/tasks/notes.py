"""Notes on the rows of a run: what was left out, what may be misread, and what flatters or spoils a score."""

from collections.abc import Iterator, Mapping

from krona.messages import amount
from krona.tasks.files import Oddity
from krona.tasks.rows import Part
from krona.tasks.splits import Splits
from krona.tasks.task import Task

GLUE_ROWS: Mapping[str, Mapping[str, int]] = {  # labelled rows, by the configuration's name on the Hub
    "cola": {"train": 8551, "validation": 1043},
    "sst2": {"train": 67349, "validation": 872},
    "mrpc": {"train": 3668, "validation": 408},
    "stsb": {"train": 5749, "validation": 1500},
    "qqp": {"train": 363846, "validation": 40430},
    "qnli": {"train": 104743, "validation": 5463},
    "rte": {"train": 2490, "validation": 277},
    "mnli": {"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832},
}


def official_rows(task: Task, parts: Mapping[str, Part]) -> dict[str, list[int]]:
    """Part → [its rows, GLUE's]; empty for other tasks than GLUE's."""
    glue = GLUE_ROWS.get(task.hub_name or "", {}) if task.kind == "glue" else {}
    return {name: [part.rows, glue[name]] for name, part in parts.items() if name in glue}


ODDITIES = {
    Oddity.QUOTED: (
        'fields quoted as by a spreadsheet ("" inside quotes)',
        ": their quotes are read as text; data.quoting=csv reads the fields as in a CSV",
    ),
    Oddity.SPANNING: ("fields with a line end inside", ": correct them if a quote was left open"),
    Oddity.EMPTY: ("empty texts", ""),
}


def notes(task: Task, splits: Splits, *, train_rows: int | None = None) -> list[str]:
    """A sentence for each thing that a reader of the scores should know. train_rows: the setting `data.train_rows`."""
    used = {split.part.name: split.part for split in splits.by_role.values()}  # two halves share theirs
    return [
        *(note for part in used.values() for note in _of_part(part)),
        *_other_rows_than_glues(task, splits),
        *_labels(task, splits, train_rows),
        *_again(splits),
    ]


def _of_part(part: Part) -> Iterator[str]:
    of_all = f"of {amount(part.rows + part.skipped_rows, 'row')} of {part.name}"
    if part.skipped:
        faults = [f"{found.rows:,} {kind}, first {found.first}" for kind, found in part.skipped.items()]
        yield f"left out (data.skip_bad_rows=true): {part.skipped_rows:,} {of_all}: {'; '.join(faults)}"
    for oddity, (what, advice) in ODDITIES.items():
        if found := part.oddities.get(oddity):
            yield f"{what} in {found.rows:,} {of_all} (first {found.first}){advice}"


def _other_rows_than_glues(task: Task, splits: Splits) -> Iterator[str]:
    other = {name: pair for name, pair in official_rows(task, splits.parts).items() if pair[0] != pair[1]}
    if other:
        counts = ", ".join(f"{rows:,} rows of {name} for {glues:,}" for name, (rows, glues) in other.items())
        yield f"GLUE's form, but not GLUE's rows: {counts}: the scores are not comparable with scores on GLUE"


def _labels(task: Task, splits: Splits, train_rows: int | None) -> Iterator[str]:
    found = splits.facts["train"]["targets"]
    counts = {target: found.get(target, 0) for target in task.target_strings() or ()}
    if not counts:  # a regression
        return
    if len(found) == 1:
        (target,) = found
        yield f"train has one class only, {task.label_name(target)}: a model learns nothing but to answer it"
    elif train_rows is not None and max(counts.values()) - min(counts.values()) > 1:
        each = ", ".join(f"{rows:,} {task.label_name(target)}" for target, rows in counts.items())
        yield f"data.train_rows={train_rows} is not balanced, train has too few rows of a label: {each}"


def _again(splits: Splits) -> Iterator[str]:
    counts = [
        f"{facts[key]:,} of {amount(facts['rows'], 'row')} of {role} {what}"
        for key, what in (
            ("repeated", "repeat an earlier one"),
            ("also_in_train", "stand in train too"),
            ("also_in_dev", "stand in dev too"),
        )
        for role, facts in splits.facts.items()
        if facts.get(key)
    ]
    if counts:
        yield f"the same source text again: {', '.join(counts)}"
