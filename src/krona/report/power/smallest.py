"""The smallest differences that test sets show, by task and number of seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from krona.metrics.power import MOST_SEEDS, Assumed, Errors, seeds_needed, smallest_difference


@dataclass(frozen=True)
class Smallest:
    """One task. ``by_seeds``: number of seeds → points, None where no difference has the power."""

    task: str
    errors: Errors
    score: float
    discordant: float | None  # share of the examples; None for a correlation
    by_seeds: dict[int, float | None]
    seeds_needed: int | None = None  # for the difference that was asked; None where 20 are too few


def smallest(
    chosen: Mapping[str, tuple[Errors, float]],
    *,
    seeds: Sequence[int],
    difference: float | None,
    assumed: Assumed,
) -> list[Smallest]:
    """Return a row for each task."""
    rows = []
    for task, (errors, score) in chosen.items():
        counts = dict.fromkeys((*seeds, MOST_SEEDS))
        found = {n: smallest_difference(errors, score=score, seeds=n, assumed=assumed) for n in counts}
        needed = None if difference is None else seeds_needed(errors, difference, score=score, assumed=assumed)
        share = errors.discordant(score, score, assumed) if errors.counts else None
        rows.append(Smallest(task, errors, score, share, found, needed))
    return rows
