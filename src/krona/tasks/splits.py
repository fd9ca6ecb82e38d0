"""Divide the rows of a task into train, dev and test.

Appendix D.1 and Table 1 of the KronA paper describe different protocols (docs/fidelity.md, Data). The data seed does
not depend on the training seed, so all runs of a task have the same three splits.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from krona.messages import KronaError, did_you_mean, plural
from krona.metrics.scores.metric import EMPTY_SET
from krona.random_streams import stream_seed
from krona.tasks.data_sources import read_official_splits, read_others
from krona.tasks.rows import Data, OfficialSplit, Split
from krona.tasks.task import Task

ROLES = ("train", "dev", "test")
CARVED = 1000  # the number of train rows that become dev (protocol table1) or test (appendix_d1) in large tasks
MAX_TARGETS = 1000  # maximum number of distinct targets of a split in result.json
CHUNK = 100_000
OWN_SHARE = 0.1  # if a user's task has no dev or test, about this share of train (at most CARVED rows) becomes it


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The three splits of a task."""

    train: Split
    dev: Split
    test: Split
    official: Mapping[str, OfficialSplit] = field(default_factory=dict, compare=False)

    @property
    def by_role(self) -> dict[str, Split]:
        return {role: getattr(self, role) for role in ROLES}

    def round_targets(self, decimals: int) -> "Splits":
        """Return a copy with the targets of a regression rounded."""
        train, dev, test = (split.round_targets(decimals) for split in self.by_role.values())
        return replace(self, train=train, dev=dev, test=test)

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """The entry `splits` of result.json (docs/results-schema.md), without the number of truncated texts."""
        return {
            name: {"rows": len(split), "fingerprint": split.fingerprint} | self.counts[name]
            for name, split in self.by_role.items()
        }

    @cached_property
    def counts(self) -> dict[str, dict[str, Any]]:
        """The counts of rows in `facts`. The fingerprints of large files take more time than their counts."""
        counts: dict[str, dict[str, Any]] = {}
        texts = {role: {*split.texts} for role, split in self.by_role.items()}
        for name, split in self.by_role.items():
            counts[name] = {
                "rows": len(split),
                "skipped_rows": split.official.skipped_rows,
                "empty_texts": sum(not all(map(str.strip, row)) for row in split.texts),
                "targets": _count_targets(split.targets),
                "repeated": len(split) - len(texts[name]),
                **{f"also_in_{other}": sum(row in texts[other] for row in split.texts) for other in counts},
            }
        return counts


def _count_targets(targets: Sequence[str]) -> dict[str, int]:
    """Return the number of rows by target.

    If there are more than `MAX_TARGETS` different targets, keep only the lowest, the highest and the longest.
    """

    def sort_key(target: str) -> list[float]:  # a number, a label id, or the label ids of a multi-label task
        return [] if target == EMPTY_SET else [*map(float, target.split())]

    found = Counter(targets)
    counts = {target: found[target] for target in sorted(found, key=sort_key)}
    if len(counts) <= MAX_TARGETS:
        return counts
    lowest, *_, highest = counts
    return {target: counts[target] for target in (lowest, max(counts, key=len), highest)}


def load(task: Task, data: Data, *, prefix: bool = False, others: bool = False) -> Splits:
    """Return the three splits of a task.

    Args:
        others: whether to read `Split.others` of dev and test, if the task has files of its own.
        prefix: whether source texts start with the task's name. The task's own field `prefix` has priority.

    Raises:
        KronaError: the data cannot be read or divided.
    """
    splits = read_official_splits(task, data, prefix=prefix)
    if task.group_phrases and (data.dev_from_train is not None or data.test_from_train is not None):
        splits = {name: group_phrases(split) for name, split in splits.items()}
    train, dev, test = divide(splits, task, data)
    if data.train_rows is not None:
        train = _balance(train, data.train_rows, task, data)
    for role, split in zip(ROLES, (train, dev, test), strict=True):
        if not len(split):
            sizes = []
            for name, official in splits.items():
                groups = "" if official.groups is None else f" ({plural(len({*official.groups}), 'group')})"
                sizes.append(f"{plural(len(official), 'row')}{groups} in {name}")
            if skipped := sum(official.official.skipped_rows for official in splits.values()):
                sizes.append(f"without {plural(skipped, 'bad row')}")
            raise KronaError(
                f"task {task.name}: no rows are left for {role}. The data have {', '.join(sizes)}. Use more data."
            )
    if others and task.data_kind == "own":
        by_id = read_others(task, data, [*dev.ids, *test.ids])
        dev, test = replace(dev, others=by_id), replace(test, others=by_id)
    read = {name: split.official for name, split in splits.items()}
    return Splits(train=train, dev=dev, test=test, official=read)


def group_phrases(split: Split) -> Split:
    """Return the split with groups: a row belongs to the group of the longest row whose text contains its text.

    A text contains another text if the words of the other text follow one another in it. Only the first text column is
    compared. Phrases of a sentence are not independent of it, so intervals and tests must resample whole sentences.
    """
    words = [texts[0].split() for texts in split.texts]
    frequency = Counter(word for row in words for word in {*row})
    longest_with: dict[str, list[tuple[int, str]]] = defaultdict(list)  # the rows that no longer row contains, by word
    group_ids: list[tuple[str, ...]] = [(row_id,) for row_id in split.ids]
    for row in sorted(range(len(words)), key=lambda row: (-sum(map(len, words[row])), row)):
        text = f" {' '.join(words[row])} "
        rarest = min(words[row], key=frequency.__getitem__, default="")
        container = next((longer for longer, other in longest_with[rarest] if text in other), None)
        if container is not None:
            group_ids[row] = group_ids[container]
            continue
        for word in {*words[row]}:
            longest_with[word].append((row, text))
    return replace(split, group_ids=group_ids)


class _OfficialSplits(dict[str, Split]):
    """The official splits of a task by name. A missing split is a `KronaError`."""

    def __init__(self, splits: Mapping[str, Split], task: str) -> None:
        super().__init__(splits)
        self.task = task

    def __missing__(self, name: str) -> Split:
        hint = "" if name == "train" else ". For files of your own, set task.split=given"
        raise KronaError(f"task {self.task}: its data do not contain '{name}': {did_you_mean(name, self)}{hint}.")


def divide(splits: Mapping[str, Split], task: Task, data: Data) -> tuple[Split, Split, Split]:
    """Divide the official splits of a task into train, dev and test, and return these three splits.

    ``task.split`` is the rule:

    - ``halve_validation``: dev is the first half of the permuted validation rows (rounded down), and test is the rest.
    - ``carve_train``: dev is the first 1,000 rows of the permuted train, and test is validation. Under the protocol
      appendix_d1, these rows are test, and validation is dev.
    - ``mnli``: dev is validation_mismatched, and test is validation_matched. Under the protocol appendix_d1,
      validation_matched is dev, and the first 1,000 rows of the permuted train are test.
    - ``given``: dev and test are as in the data source. If only test is missing, dev is divided into two halves. If dev
      is missing, rows of train become dev. If test is missing too, other rows of train become test. `take_by_hash`
      chooses these rows. This rule does not use the protocol.

    With the protocol ``validation``, dev and test both contain all rows of the official validation set, as in LoRA-GA
    and its successors. With ``data.dev_from_train``, test is the whole official validation set (for own files, the file
    of test or, without this file, of dev).

    Raises:
        KronaError: an official split that the rule needs is missing, or train has too few rows for the rule.
    """
    found, by_hash = _OfficialSplits(splits, task.name), task.split == "given"
    if data.dev_from_train is None:
        train, dev, test = _complete(found, task, data) if by_hash else _apply_rule(found, task, data)
    elif data.protocol != "table1":
        raise KronaError(
            f"data.dev_from_train={data.dev_from_train} makes all official validation rows the test set, so it cannot "
            f"be combined with data.protocol={data.protocol}. Remove one of the two."
        )
    elif by_hash and "dev" in found and "test" in found:
        raise KronaError(
            f"data.dev_from_train={data.dev_from_train}: the task {task.name} has its own rows for dev and test. "
            "Remove files.dev from the task, or remove this setting."
        )
    else:
        dev, train = _hold_out(found["train"], "dev_from_train", task, data)
        own = "test" if "test" in found else "dev"
        official = {"mnli": "validation_matched", "given": own}.get(task.split, "validation")
        if official in found or not by_hash:
            test = found[official]
        else:
            test, train = take_by_hash(train, _own_share(len(train)), f"{data.seed} test", task)
    if data.test_from_train is not None:
        added, train = _hold_out(train, "test_from_train", task, data)
        test = test.join(added)
    return train, dev, test


def take_by_hash(split: Split, rows: float, salt: str, task: Task) -> tuple[Split, Split]:
    """Return the rows of a split that the hashes of their texts (or groups) select, and the other rows.

    Rows with equal texts, or of the same group, stay together. If each row has one label, at least one row is taken of
    each label that has several different texts (or groups), and no row of other labels.

    Args:
        rows: below 1, about this share of the rows is taken, so that new rows leave other rows where they are.
            Otherwise, this number of rows is taken.
        salt: a text that makes the choice independent of other choices.
    """
    digests = [hashlib.blake2b("\0".join([salt, *unit]).encode(), digest_size=8).digest() for unit in split.units]
    hashes = [int.from_bytes(digest) / 2**64 for digest in digests]
    if rows >= 1:
        taken = {*sorted(hashes)[: int(rows)]}
    else:
        taken = {value for value in hashes if value < rows}
        by_target = defaultdict[str, set[float]](set)  # without labels, all rows count as one label
        for value, target in zip(hashes, split.targets, strict=True):
            by_target[target if task.has_one_label else ""].add(value)
        for values in by_target.values():
            if len(values) == 1:
                taken -= values
            elif taken.isdisjoint(values):
                taken.add(min(values))
    first = [row for row, value in enumerate(hashes) if value in taken]
    return split.take(first), split.take([row for row, value in enumerate(hashes) if value not in taken])


def _own_share(rows: int) -> float:
    """Return the share of train that becomes dev or test. It changes only when the number of rows doubles."""
    share = OWN_SHARE
    while share * rows > CARVED:
        share /= 2
    return share


def _hold_out(
    train: Split, setting: Literal["dev_from_train", "test_from_train"], task: Task, data: Data
) -> tuple[Split, Split]:
    """Return the rows of train that a setting moves to another split, and the other rows."""
    rows: float = getattr(data, setting)
    count = max(1, round(rows * len(train))) if rows < 1 else int(rows)
    if count >= len(train):
        raise KronaError(f"data.{setting}={rows}: no rows are left for train, which has {plural(len(train), 'row')}.")
    if task.split == "given":
        return take_by_hash(train, rows, f"{data.seed} {setting}", task)
    return _take(train, count, data.seed)


def _take(split: Split, rows: int, seed: int) -> tuple[Split, Split]:
    """Return ``rows`` random rows of a split (more, if a group would be divided), and the other rows."""
    order, groups = permutation(len(split), seed), split.groups
    if groups is not None:
        first: dict[int, int] = {}
        for index, row in enumerate(order):
            first.setdefault(groups[row], index)
        order.sort(key=lambda row: first[groups[row]])
        while 0 < rows < len(order) and groups[order[rows - 1]] == groups[order[rows]]:
            rows += 1
    return split.take(order[:rows]), split.take(order[rows:])


def _apply_rule(splits: _OfficialSplits, task: Task, data: Data) -> tuple[Split, Split, Split]:
    train, validation = splits["train"], splits["validation_matched" if task.split == "mnli" else "validation"]
    if data.protocol == "validation":
        return train, validation, validation
    if task.split == "halve_validation":
        return train, *_take(validation, len(validation) // 2, data.seed)
    if task.split == "mnli" and data.protocol == "table1":
        return train, splits["validation_mismatched"], validation
    is_table1 = data.protocol == "table1"
    if len(train) <= CARVED:
        raise KronaError(
            f"task {task.name}: no rows are left for train, because it has {plural(len(train), 'row')} and "
            f"data.protocol={data.protocol} moves {CARVED:,} of them to {'dev' if is_table1 else 'test'}. Use "
            "data.protocol=validation, which uses the validation rows as dev and test, or write a task file in "
            "conf/task that contains files: {train: FILE}."
        )
    carved, rest = _take(train, CARVED, data.seed)
    return (rest, carved, validation) if is_table1 else (rest, validation, carved)


def permutation(rows: int, seed: int) -> list[int]:
    """Return the indices from 0 to ``rows`` - 1 in random order.

    The order is that of torch.randperm, which the paper's protocols use. Importing torch would take a second.

    Args:
        seed: a number below 2**32.
    """
    swaps = np.random.RandomState(seed).randint(2**32, size=max(rows - 1, 0), dtype=np.uint32)
    order = list(range(rows))
    others = swaps % np.arange(rows, 1, -1) + np.arange(rows - 1)
    for start in range(0, len(others), CHUNK):  # all of them as a list would take more memory than the order
        for index, other in enumerate(others[start : start + CHUNK].tolist(), start):
            order[index], order[other] = order[other], order[index]
    return order


def _complete(splits: _OfficialSplits, task: Task, data: Data) -> tuple[Split, Split, Split]:
    train, dev, test = splits["train"], splits.get("dev"), splits.get("test")
    share = _own_share(len(train))
    if dev is not None and test is None:
        dev, test = take_by_hash(dev, 0.5, f"{data.seed} halves", task)
    if dev is None:
        dev, train = take_by_hash(train, share, f"{data.seed} dev", task)
    if test is None:
        test, train = take_by_hash(train, share, f"{data.seed} test", task)
    return train, dev, test


def _balance(train: Split, rows: int, task: Task, data: Data) -> Split:
    """Return ``rows`` rows of train as a split. If possible, each label has the same number of rows."""
    if rows > len(train):
        raise KronaError(f"data.train_rows={rows} is too large, because train has only {plural(len(train), 'row')}.")
    seed = data.seed if data.subset_seed is None else data.subset_seed
    queues: dict[str, list[int]] = defaultdict(list)
    for index in reversed(permutation(len(train), stream_seed("subset", seed))):
        queues[train.targets[index] if task.has_one_label else ""].append(index)
    taken: list[int] = []
    while len(taken) < rows:
        for label in sorted(queues):
            if queues[label] and len(taken) < rows:
                taken.append(queues[label].pop())
    return train.take(taken)
