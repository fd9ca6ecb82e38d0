"""Rows of runs: a cell has the seeds of one configuration; any other difference makes a row of its own."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from krona.messages import first_few
from krona.paper import METHOD_LABELS, task_label
from krona.report.layouts import Layout, asked_shape, row_order, used_shape
from krona.report.selection import SPLITS, StoredRun
from krona.report.table import Row

LONG = re.compile(r"-?\d+\.\d{7,}(e-?\d+)?")
IN_WORDS = {("trainer.max_steps", "-1"): "none", ("data.train_rows", "null"): "all"}
Variants = dict[tuple[str, ...], list[StoredRun]]
HIDDEN = ("method.name", "method._target_", "method.source", "method.fit_factors")
DATA = (*(f"{name} set" for name in SPLITS), "rows left out")
CHOSEN = ("data.protocol", "data.seed", "data.train_rows", "data.skip_bad_rows")  # a reader sees that these differ


@dataclass
class Group:
    """One row's runs by task; ``differs`` names the settings that tell it from others of the same key."""

    key: str
    differs: dict[str, str] = field(default_factory=dict)
    runs: dict[str, list[StoredRun]] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()  # tasks whose runs have rows of their own, a setting each

    @property
    def first(self) -> StoredRun | None:
        """A run that finished, if there is one: it knows which shape it used."""
        runs = [run for found in self.runs.values() for run in found]
        return next((run for run in runs if run.status == "done"), next(iter(runs), None))

    @property
    def suffix(self) -> str:
        """The differing settings as a reader sees them; a shape as it was used."""
        shown = {key: in_words(key, value) for key, value in self.differs.items()}
        if self.first is not None and (key := "method.kron_factors") in shown:
            used, asked = used_shape(self.first.result), asked_shape(self.first.result)
            shown[key] = f"{used} (the paper's {asked})" if asked else used or self.differs[key]
        return ", ".join(f"{key.removeprefix('method.')}={value}" for key, value in shown.items())


def in_words(key: str, value: str) -> str:
    """A setting's value in words: none for null, and for -1 steps; a long fraction with four digits."""
    if LONG.fullmatch(value):
        return f"{float(value):.4g}"
    return IN_WORDS.get((key, value), "none" if value == "null" else value)


def group(runs: Sequence[StoredRun], layout: Layout, *, whole: bool) -> tuple[list[Group], list[str]]:
    """Rows in the table's order (without runs too if ``whole``), and a note for each cell of several variants."""
    cells: dict[str, dict[str, Variants]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for run in runs:
        if (row := layout.row(run)) is not None:
            cells[row][run.result.task][run.variant].append(run)
    _join_unknown(cells)
    groups: list[Group] = []
    notes: list[str] = []
    for row in sorted({*cells, *(layout.rows if whole else ())}, key=lambda name: row_order(layout, name)):
        plain, several = Group(row), {}
        for task, variants in cells.get(row, {}).items():
            preferred = _preferred(list(variants.values()), layout.sweep)
            if len(preferred) == 1:
                plain.runs[task] = preferred[0]
            else:
                several[task] = preferred
        differing = {task: _differing([one[0] for one in variants]) for task, variants in several.items()}
        split = _split(row, several, differing)
        plain.apart = frozenset(several)
        if plain.runs or not split:
            groups.append(plain)
        groups += split
        for task, found in several.items():
            where, keys = f"{layout.labels.get(row, row)} on {task_label(task)}", ", ".join(differing[task])
            notes.append(f"{where}: {len(found)} variants ({keys}), a row each, never averaged.")
    return groups, first_few(notes, 5)


def _join_unknown(cells: dict[str, dict[str, Variants]]) -> None:
    """Move runs that ended before they knew their data's fingerprints to the variant of the same settings."""
    for tasks in cells.values():
        for variants in tasks.values():
            known: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
            for name, runs in variants.items():
                known[runs[0].asked].append(name)
            for name, runs in list(variants.items()):
                if None not in runs[0].content.values():
                    continue
                fitting = [one for one in known[runs[0].asked] if one != name and one in variants and {*name} <= {*one}]
                if fitting:
                    variants[fitting[0]] += variants.pop(name)


def _preferred(variants: list[list[StoredRun]], sweep: str | None) -> list[list[StoredRun]]:
    """The finished variants, and of these the ones that the table's own sweep made, if any."""
    variants = [runs for runs in variants if any(run.status == "done" for run in runs)] or variants
    own = [runs for runs in variants if sweep is not None and any(run.sweep == sweep for run in runs)]
    return own or variants


def _split(row: str, several: dict[str, list[list[StoredRun]]], differing: dict[str, list[str]]) -> list[Group]:
    """One group a combination of the differing settings, tasks with the same combination side by side."""
    keys = list(dict.fromkeys(key for found in differing.values() for key in found))
    found: dict[tuple[tuple[str, str], ...], Group] = {}
    for task, variants in several.items():
        for runs in variants:
            settings = {key: runs[0].setting(key) for key in keys if key in differing[task]}
            values = {key: "not set" if value is None else value for key, value in settings.items()}
            found.setdefault(tuple(values.items()), Group(row, values)).runs[task] = runs
    return [found[name] for name in sorted(found, key=lambda name: [_natural(*part) for part in name])]


def _natural(key: str, value: str) -> tuple[str, float, str]:
    """Numbers by size: lr=0.0001 before lr=0.001 and 2x384 before 12x64."""
    try:
        return key, float(value.split("x")[0]), value
    except ValueError:
        return key, float("inf"), value


def _differing(runs: Sequence[StoredRun]) -> list[str]:
    """The settings in which these runs are not all equal."""
    parts = [set(run.variant) for run in runs]
    odd = sorted(parts[0].union(*parts) - parts[0].intersection(*parts))
    keys = dict.fromkeys(line.partition("=")[0] for part in odd for line in part.split("\n"))
    found = [k for k in keys if k not in HIDDEN and len({run.setting(k) for run in runs}) > 1]
    settings = [k for k in found if k not in runs[0].content]
    told = {tuple(run.setting(k) for k in settings) for run in runs}
    return settings if len(told) == len(runs) else found  # what was read follows from the settings that chose it


def named_row(layout: Layout, one: Group) -> Row:
    """The group's row, without cells. A row of a shape has the used shape's name, with the paper's beside it."""
    label, differs = layout.labels.get(one.key, one.key), [one.suffix] if one.suffix else []
    first = one.first
    if layout.by_shape and first is not None and asked_shape(first.result):
        label, differs = used_shape(first.result) or label, [f"the paper's {one.key}", *differs]
    return Row(f"{one.key} {one.suffix}".strip(), label, differs=", ".join(differs))


def add_paper(layout: Layout, one: Group, row: Row, *, comparable: bool) -> None:
    """The paper's numbers, where they belong beside the row's. Params are shown without a difference."""
    if layout.paper is None or not comparable or one.differs:
        return
    for key, cell in row.cells.items():
        if all(run.section.comparable for run in cell.runs):
            cell.paper = layout.paper.value(one.key, "training_time" if key == "time" else key)
            cell.comparable = key != "params"


def apart(a: StoredRun, b: StoredRun) -> list[str]:
    """Return the differences of the data: ``train set``, ``rows left out``. Unknown values do not differ.

    A method that reads the task's name before each text has fingerprints of its own; they are not compared.
    """
    if _prefix(a) != _prefix(b):
        return []
    pairs = [(key, a.content[key], b.content[key]) for key in DATA]
    return [key for key, x, y in pairs if x != y and None not in (x, y)]


def differs(keys: Sequence[str]) -> str:
    """``train set and dev set differ``."""
    return f"{' and '.join(keys)} {'differs' if len(keys) == 1 else 'differ'}"


def mixed(runs: Sequence[StoredRun]) -> list[str]:
    """A note for each task on which methods with the same data settings did not read the same rows."""
    first: dict[tuple[str | bool | None, ...], StoredRun] = {}
    keys: dict[str, dict[str, None]] = {}
    methods: dict[str, dict[str, None]] = {}
    for run in runs:
        if run.status != "done":
            continue
        task = run.result.task
        other = first.setdefault((task, _prefix(run), *map(run.setting, CHOSEN)), run)
        if found := apart(other, run):
            keys.setdefault(task, {}).update(dict.fromkeys(found))
            names = (METHOD_LABELS.get(one.result.method, one.result.method) for one in (other, run))
            methods.setdefault(task, {}).update(dict.fromkeys(names))
    return [
        f"{task_label(task)}: {' and '.join(methods[task])} were not run on the same data ({differs([*found])})."
        for task, found in keys.items()
        if len(methods[task]) > 1  # of one method each has a row of its own
    ]


def _prefix(run: StoredRun) -> bool:
    task, method = run.result.config["task"], run.result.config["method"]
    given = task.get("prefix")
    return bool(method.get("task_prefix") if given is None else given)
