"""Division into train, dev and test, by two protocols, because D.1 and Table 1 disagree (docs/fidelity.md, Data).

The data seed is fixed and never the training's seed: all runs of a task see the same three splits.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from krona.messages import KronaError, amount, did_you_mean
from krona.tasks.rows import DataOptions, Part, Split
from krona.tasks.sources import undivided
from krona.tasks.task import Task

ROLES = ("train", "dev", "test")
PROTOCOLS = ("table1", "appendix_d1")
CARVED = 1000  # rows of train that become dev (table1) or test (appendix_d1) of the large tasks
OWN_SHARE = 10  # a user's task without dev or test gives a tenth of train for each, at most CARVED rows


@dataclass(frozen=True, kw_only=True)
class Splits:
    """kind: of the scores on them, "glue", "sample" or "own". parts: all official parts that were read."""

    train: Split
    dev: Split
    test: Split
    kind: str
    parts: Mapping[str, Part] = field(default_factory=dict, compare=False)

    @property
    def by_role(self) -> dict[str, Split]:
        return {role: getattr(self, role) for role in ROLES}

    @cached_property
    def facts(self) -> dict[str, dict[str, Any]]:
        """Of each split what `result.splits` has of it, except what the tokenizer counts (docs/results-schema.md)."""
        found: dict[str, dict[str, Any]] = {}
        texts: dict[str, set[str]] = {}  # source texts of the splits before
        for name, split in self.by_role.items():
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


def load(task: Task, data: DataOptions, *, prefix: bool = False) -> Splits:
    """A task's three splits. Raises KronaError.

    prefix: whether the method wants the task's name before the source; the task's own `prefix` overrides it.
    `data.subset_seed` chooses the rows of `train_rows` (None: `data.seed`); it never moves dev and test.
    """
    if data.protocol not in PROTOCOLS:
        raise KronaError(f"data.protocol '{data.protocol}': {did_you_mean(data.protocol, PROTOCOLS)}")
    parts = undivided(task, data, prefix=prefix)
    train, dev, test = divide(parts, split=task.split, protocol=data.protocol, seed=data.seed, task=task.name)
    if data.train_rows is not None:
        chosen = data.seed if data.subset_seed is None else data.subset_seed
        train = _balanced(train, data.train_rows, seed=chosen, by_label=task.labels is not None)
    for role, split in zip(ROLES, (train, dev, test), strict=True):
        if not len(split):
            raise KronaError(f"task {task.name}: {role} would be a split with no rows")
    read = {name: split.part for name, split in parts.items()}
    return Splits(train=train, dev=dev, test=test, kind=task.kind, parts=read)


def divide(
    parts: Mapping[str, Split], *, split: str, protocol: str, seed: int, task: str
) -> tuple[Split, Split, Split]:
    """Official parts → (train, dev, test).

    halve_validation: the permuted validation, first half (floor) dev, the rest test.
    carve_train: 1,000 rows of permuted train are dev and the validation is test (appendix_d1: the other way round).
    mnli: dev is validation-mismatched, test validation-matched (appendix_d1: 1,000 of train are test, matched is dev).
    given: as the source has them; a missing dev is taken from train, a missing test from dev or train.
    """
    if split == "given":
        return _given(parts, seed=seed, task=task)
    train = _part(parts, "train", task)
    if split == "halve_validation":
        dev, test = _halves(_part(parts, "validation", task), seed)
        return train, dev, test
    if split == "mnli" and protocol == "table1":
        return train, _part(parts, "validation_mismatched", task), _part(parts, "validation_matched", task)
    official = _part(parts, "validation_matched" if split == "mnli" else "validation", task)
    if len(train) <= CARVED:
        raise KronaError(
            f"task {task}: train would be a split with no rows: it has {len(train)}, and data.protocol={protocol} "
            f"takes {CARVED} of them out. For data of your own write a task with files: {{train: FILE}}"
        )
    order = permutation(len(train), seed)
    carved, rest = train.take(order[:CARVED]), train.take(order[CARVED:])
    return (rest, carved, official) if protocol == "table1" else (rest, official, carved)


def permutation(rows: int, seed: int) -> list[int]:
    """torch.randperm under the data seed, as the code behind Table 1 has it."""
    import torch  # here, so that a run's id and the report need no torch

    return [int(i) for i in torch.randperm(rows, generator=torch.Generator().manual_seed(seed))]


def _part(parts: Mapping[str, Split], name: str, task: str) -> Split:
    if name not in parts:
        raise KronaError(f"task {task}: its data has no '{name}': {did_you_mean(name, parts)}")
    return parts[name]


def _halves(part: Split, seed: int) -> tuple[Split, Split]:
    order = permutation(len(part), seed)
    half = len(part) // 2
    return part.take(order[:half]), part.take(order[half:])


def _given(parts: Mapping[str, Split], *, seed: int, task: str) -> tuple[Split, Split, Split]:
    train, dev, test = _part(parts, "train", task), parts.get("dev"), parts.get("test")
    if dev is not None and test is None:
        dev, test = _halves(dev, seed)
    share = min(CARVED, max(1, len(train) // OWN_SHARE))
    order = permutation(len(train), seed)
    if dev is None:
        dev, order = train.take(order[:share]), order[share:]
    if test is None:
        test, order = train.take(order[:share]), order[share:]
    return (train if len(order) == len(train) else train.take(order)), dev, test


def _balanced(train: Split, rows: int, *, seed: int, by_label: bool) -> Split:
    """`rows` rows, one of each label in turn while there are any. A regression has no labels to balance."""
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise KronaError(f"data.train_rows={rows}: a split with no rows; it must be a whole number of at least 1")
    if rows > len(train):
        raise KronaError(f"data.train_rows={rows}: train has only {amount(len(train), 'row')}")
    queues: dict[str, list[int]] = defaultdict(list)
    for place in reversed(permutation(len(train), seed)):
        queues[train.targets[place] if by_label else ""].append(place)
    taken: list[int] = []
    while len(taken) < rows:
        for label in sorted(queues):
            if queues[label] and len(taken) < rows:
                taken.append(queues[label].pop())
    return train.take(taken)
