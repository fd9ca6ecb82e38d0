"""Interleaved rounds: each contestant once a round, in an order that is drawn anew; a disturbed round is run again."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from krona.bench.machine import QUIET, Clock, others_share, read_clock
from krona.bench.settings import Bench
from krona.messages import KronaError


@dataclass
class Timed:
    """Seconds of each round's calls, by contestant."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    disturbed: int = 0  # rounds in which others took cores: left out, or kept where load was to be marked
    kept: list[int] = field(default_factory=list)  # which call of a contestant each round was, the first one being 0

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


def rounds_of(
    bench: Bench, contestants: Mapping[str, Callable[[], float | None]], *, say: Callable[[str], None]
) -> Timed:
    """`timed_rounds` as a bench's settings have them."""
    return timed_rounds(
        contestants,
        rounds=bench.rounds,
        warm_up=bench.warm_up,
        minutes=bench.minutes,
        mark_load=bench.load == "mark",
        seed=bench.seed,
        say=say,
    )


def timed_rounds(
    contestants: Mapping[str, Callable[[], float | None]],
    *,
    rounds: int,
    warm_up: int = 1,
    minutes: float,
    mark_load: bool = False,
    seed: int = 0,
    clock: Callable[[], Clock] = read_clock,
    say: Callable[[str], None] = lambda _: None,
) -> Timed:
    """Time ``rounds`` quiet rounds, or as many as ``minutes`` allow after the warm-up (three at least).

    A contestant that returns a number has timed itself; else its call is timed.

    Raises:
        KronaError: fewer than three quiet rounds in the time: others ran on the machine.
    """
    order, shuffled, began = list(contestants), random.Random(seed), time.perf_counter()
    for _ in range(warm_up):
        for name in order:
            contestants[name]()
    timed = Timed({name: [] for name in order})
    warm, tried = time.perf_counter(), 0
    while len(timed.kept) < rounds:
        now = time.perf_counter()
        if tried >= 3 and now - began + (now - warm) / tried > 60 * minutes:
            say(f"  {len(timed.kept)} of {rounds} rounds: more do not fit into {minutes:.1f} minutes")
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
            say(f"  others took {share:.2f} cores in this round: it is {'marked' if mark_load else 'run again'}")
            if not mark_load:
                continue
        for name, seconds in row.items():
            timed.seconds[name].append(seconds)
        timed.kept.append(warm_up + tried - 1)
    if len(timed.kept) < min(rounds, 3):
        raise KronaError(
            f"the machine is under load: others took cores in {timed.disturbed} of {tried} rounds, and "
            f"{len(timed.kept)} quiet ones make no number. Wait until they are done; bench.load=mark measures all the "
            "same and marks the result as disturbed"
        )
    return timed
