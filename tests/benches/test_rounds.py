"""Test the rounds of a benchmark: random order, repetition if disturbed, and the error on a busy machine."""

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import timing
from benchmarks.settings import Bench
from benchmarks.timing import Clock, Timed, load_by_others, read_clock, require_quiet, timed_rounds
from krona.messages import KronaError


def clocks(shares: list[float]) -> object:
    """Return a clock with two times for each round. Between them, others use the given share of a core."""
    others, moments = 0.0, []
    for second, share in enumerate(shares):
        moments.append(Clock(2.0 * second, others))
        others += share
        moments.append(Clock(2.0 * second + 1, others))
    return itertools.chain(moments, itertools.repeat(moments[-1])).__next__


def bench(**settings: Any) -> Bench:
    return Bench(**{"name": "training", "warm_up": 0, "minutes": 1.0} | settings)


def test_each_round_calls_every_contestant_in_random_order() -> None:
    calls: list[str] = []
    contestants = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    timed = timed_rounds(bench(rounds=6), contestants, clock=clocks([0.0] * 6))
    rounds = [calls[at : at + 3] for at in range(0, 18, 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1
    assert [len(timed.seconds[name]) for name in "abc"] == [6, 6, 6]


def test_a_disturbed_round_is_run_again() -> None:
    times = iter([1.0, 50.0, 1.0, 1.0])
    timed = timed_rounds(bench(rounds=3), {"a": lambda: next(times)}, clock=clocks([0.0, 0.9, 0.0, 0.0]))
    assert timed.seconds["a"] == [1.0, 1.0, 1.0]
    assert timed.disturbed == 1


def test_a_machine_under_load_gives_no_time() -> None:
    with pytest.raises(KronaError, match=r"under load: .* used cores in \d+ of \d+ rounds.*bench\.load=mark"):
        timed_rounds(bench(rounds=5, minutes=0.0), {"a": lambda: 1.0}, clock=clocks([0.9] * 500))


def test_marked_load_is_kept_and_counted() -> None:
    contestants = {"a": lambda: 1.0}
    timed = timed_rounds(bench(rounds=3, load="mark"), contestants, clock=clocks([0.9, 0.0, 0.0]))
    assert timed.disturbed == 1
    assert timed.seconds["a"] == [1.0] * 3


def test_ratios_are_computed_within_rounds() -> None:
    timed = Timed({"a": [1.1, 2.2, 11.0], "b": [1.0, 2.0, 10.0]})
    assert timed.ratio("a", "b") == pytest.approx(1.1)
    assert timed.median("a") == 2.2
    assert timed.spread("b") == pytest.approx(2.25)


def test_load_by_others_counts_stolen_time_and_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat, moments = tmp_path / "stat", []
    for own, busy, stolen in ((5, 100, 3), (25, 120, 3), (15, 115, 4)):
        monkeypatch.setattr(timing.os, "times", lambda own=own: os.times_result((own, 0, 0, 0, 0)))
        ticks = os.sysconf("SC_CLK_TCK")
        stat.write_text(f"cpu {busy * ticks} 0 0 7 7 0 0 {stolen * ticks}\n")
        moments.append(read_clock(stat)._replace(wall=own))
    assert load_by_others(moments[0], moments[1]) == 0.0
    assert load_by_others(moments[0], moments[2]) == pytest.approx(0.6)


def test_a_machine_under_load_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "read_clock", clocks([1.5]))
    with pytest.raises(KronaError, match=r"under load: other processes use 1\.50 of \d+ cores"):
        require_quiet(seconds=0)
    monkeypatch.setattr(timing, "read_clock", clocks([0.01]))
    require_quiet(seconds=0)
