"""Interleaved rounds: each contestant once a round, in a new random order; a disturbed round is repeated."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from krona.bench.machine import QUIET, Clock, others_share, read_clock, under_load
from krona.bench.settings import Bench, Row, Say


@dataclass
class Timed:
    """Seconds of each round's calls, by contestant."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    disturbed: int = 0  # rounds in which others took cores: repeated, or kept with bench.load=mark
    kept: list[int] = field(default_factory=list)  # each round's number among a contestant's calls, from 0

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def spread(self, name: str) -> float:
        """Half the distance between the quartiles, over the median."""
        values = self.seconds[name]
        if len(values) < 4:
            return (max(values) - min(values)) / 2 / self.median(name)
        low, _, high = statistics.quantiles(values, n=4)
        return (high - low) / 2 / self.median(name)

    def ratio(self, name: str, to: str) -> float:
        """Median over rounds of one's time over another's in the same round: a slow minute cancels out."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))

    def row(self, name: str, *, shape: str | None = None) -> Row:
        """The columns that every bench has, of one contestant."""
        return {
            "name": name,
            "shape": shape,
            "median_s": self.median(name),
            "spread": self.spread(name),
            "ratio_to_full": self.ratio(name, "full") if "full" in self.seconds else None,
            "rounds": len(self.seconds[name]),
            "disturbed_rounds": self.disturbed,
        }


def timed_rounds(
    bench: Bench,
    contestants: Mapping[str, Callable[[], float | None]],
    *,
    clock: Callable[[], Clock] = read_clock,
    say: Say = lambda _: None,
) -> Timed:
    """Time ``bench.rounds`` quiet rounds, or as many as its ``minutes`` allow after the warm-up (at least three).

    A contestant that returns a number has timed itself; else its call is timed.

    Raises:
        KronaError: fewer than three quiet rounds in the time: others ran on the machine.
    """
    order, shuffled, began = list(contestants), random.Random(bench.seed), time.perf_counter()
    for _ in range(bench.warm_up):
        for name in order:
            contestants[name]()
    timed = Timed({name: [] for name in order})
    warm, tried = time.perf_counter(), 0
    while len(timed.kept) < bench.rounds:
        now = time.perf_counter()
        if tried >= 3 and now - began + (now - warm) / tried > 60 * bench.minutes:
            say(f"  {len(timed.kept)} of {bench.rounds} rounds: more do not fit into {bench.minutes:.1f} minutes")
            break
        shuffled.shuffle(order)
        before, row = clock(), {}
        for name in order:
            start = time.perf_counter()
            own = contestants[name]()
            row[name] = time.perf_counter() - start if own is None else own
        share, tried = others_share(before, clock()), tried + 1
        if share > QUIET:
            timed.disturbed += 1
            kept = bench.load == "mark"
            say(f"  others took {share:.2f} cores in this round: it is {'marked' if kept else 'repeated'}")
            if not kept:
                continue
        for name, seconds in row.items():
            timed.seconds[name].append(seconds)
        timed.kept.append(bench.warm_up + tried - 1)
    if len(timed.kept) < min(bench.rounds, 3):
        raise under_load(
            f"others took cores in {timed.disturbed} of {tried} rounds, and {len(timed.kept)} quiet ones make no number"
        )
    return timed
