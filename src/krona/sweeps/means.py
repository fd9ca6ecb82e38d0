"""Means over the seeds of a multirun's jobs, and the best of each task."""

from collections.abc import Sequence
from statistics import mean, stdev

from krona.screen import duration

BEST = "*"
Described = dict[str, str]  # column → entry
SCORES = ("dev", "test")


def over_seeds(rows: Sequence[Described], axes: Sequence[str]) -> list[Described]:
    """A row for each setting of the ``axes`` without the seed, with ``61.20 ± 1.30`` and the number of seeds.

    ``rows`` that have a score, with ``seconds``. Empty where no setting has several seeds.
    """
    kept = [name for name in axes if name != "seed"]
    groups: dict[tuple[str, ...], list[Described]] = {}
    for row in rows:
        if scored_on(row) is not None:
            key = tuple(row.get(name, "") for name in (*kept, "parameters", "task", "data"))
            groups.setdefault(key, []).append(row)
    if all(len({row.get("seed") for row in group}) < 2 for group in groups.values()):
        return []
    first = [group[0] | {name: str(mean(_values(group, name))) for name in SCORES if _values(group, name)}
             for group in groups.values()]  # fmt: skip
    best = best_rows(first)
    means = []
    for means_row, group in zip(first, groups.values(), strict=True):
        shown = {name: means_row.get(name, "") for name in kept}
        for name in SCORES:
            mark = (BEST if means_row in best else " ") if name == scored_on(means_row) and best else ""
            shown[name] = _spread(_values(group, name)) + mark
        seconds = [float(row["seconds"]) for row in group if "seconds" in row]
        shown |= {"seeds": str(len(group)), "time": duration(mean(seconds)) if seconds else ""}
        means.append(shown)
    return means


def best_rows(rows: Sequence[Described]) -> list[Described]:
    """The rows with the highest score of their task and data, where there are several."""
    tasks: dict[tuple[str, str], list[Described]] = {}
    for row in rows:
        if scored_on(row) is not None:
            tasks.setdefault((row.get("task", ""), row.get("data", "")), []).append(row)
    best = []
    for group in tasks.values():
        top = max(_score(row) for row in group)
        if len(group) > 1 and any(_score(row) < top for row in group):
            best += [row for row in group if _score(row) == top]
    return best


def scored_on(row: Described) -> str | None:
    """The split whose score counts: test, or dev where test is not scored."""
    return next((name for name in reversed(SCORES) if name in row), None)


def _score(row: Described) -> float:
    return float(row[scored_on(row) or "dev"])


def _values(rows: Sequence[Described], name: str) -> list[float]:
    return [float(row[name]) for row in rows if name in row]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")
