"""The smallest differences that test sets show, by task and number of seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from krona.metrics.power import MOST_SEEDS, Assumed, Errors, seeds_needed, smallest_difference
from krona.report.power.simulated import Simulated, simulated_power


@dataclass(frozen=True)
class Smallest:
    """One task. ``by_seeds``: number of seeds → points, None where no difference has the power."""

    task: str
    errors: Errors
    score: float
    discordant: float | None  # share of the examples; None for a correlation
    by_seeds: dict[int, float | None]
    seeds_needed: int | None = None  # for the difference that was asked; None where 20 are too few
    simulated: Simulated | None = None


def smallest(
    chosen: Mapping[str, tuple[Errors, float]],
    *,
    seeds: Sequence[int],
    difference: float | None,
    assumed: Assumed,
    simulate: int = 0,
) -> list[Smallest]:
    """A row for each task. ``simulate``: so many test sets check the first of ``seeds`` with the project's own test."""
    rows = []
    for task, (errors, score) in chosen.items():
        counts = dict.fromkeys((*seeds, MOST_SEEDS))
        found = {n: smallest_difference(errors, score=score, seeds=n, assumed=assumed) for n in counts}
        needed = None if difference is None else seeds_needed(errors, difference, score=score, assumed=assumed)
        least, checked = found[seeds[0]], None
        if simulate and least is not None:
            checked = simulated_power(errors, least, score=score, seeds=seeds[0], assumed=assumed, test_sets=simulate)
        share = errors.discordant(score, score, assumed) if errors.counts else None
        rows.append(Smallest(task, errors, score, share, found, needed, checked))
    return rows
