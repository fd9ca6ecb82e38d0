"""The rows that runs read: in what two runs differ, and notes on columns and studies that mix data sets."""

from collections.abc import Sequence

from krona.paper import METHOD_LABELS, task_label
from krona.report.selection import SPLITS, StoredRun

DATA = (*(f"{name} set" for name in SPLITS), "rows left out")
CHOSEN = ("data.protocol", "data.seed", "data.train_rows", "data.skip_bad_rows")  # a reader sees that these differ


def apart(a: StoredRun, b: StoredRun) -> list[str]:
    """What differs of the data: ``train set``, ``rows left out``. Nothing where it is not known of both.

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
