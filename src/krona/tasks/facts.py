"""Counts of what was read, as `result.json` has them, and GLUE's own numbers of rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from krona.tasks.rows import Part, Split
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


def facts(splits: Mapping[str, Split]) -> dict[str, dict[str, Any]]:
    """Of each split what `result.splits` has of it, except what the tokenizer counts (docs/results-schema.md)."""
    found: dict[str, dict[str, Any]] = {}
    texts: dict[str, set[str]] = {}  # source texts of the splits before
    for name, split in splits.items():
        own = set(split.sources)
        found[name] = {
            "rows": len(split),
            "fingerprint": split.fingerprint,
            "skipped_rows": split.skipped_rows,
            "skipped": [{"kind": kind, **asdict(fault)} for kind, fault in split.part.skipped.items()],
            "empty_texts": split.empty_texts,
            "targets": dict(sorted(Counter(split.targets).items(), key=lambda item: float(item[0]))),
            "repeated": len(split) - len(own),
            **{f"also_in_{other}": sum(map(texts[other].__contains__, split.sources)) for other in texts},
        }
        texts[name] = own
    return found


def official_rows(task: Task, parts: Mapping[str, Part]) -> dict[str, list[int]]:
    """Part → [its rows, GLUE's]; empty for other tasks than GLUE's."""
    glue = GLUE_ROWS.get(task.hub_name or "", {}) if task.kind == "glue" else {}
    return {name: [part.rows, glue[name]] for name, part in parts.items() if name in glue}
