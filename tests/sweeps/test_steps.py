"""Test the search in steps against a known score of each point."""

from collections.abc import Callable
from math import log

import pytest

from krona.sweeps.search_space import Point, Steps, next_point

AXES = {"lr": Steps(1e-3, 3.0), "head": Steps(1, choices=(1, 10))}


def search(score: Callable[[Point], float | None], trials: int) -> list[tuple[Point, float | None]]:
    tried: list[tuple[Point, float | None]] = []
    while len(tried) < trials and (point := next_point(AXES, tried)) is not None:
        tried.append((point, score(point)))
    return tried


def peak(lr: float, head: int) -> Callable[[Point], float]:
    return lambda point: -abs(log(point["lr"] / lr)) - (point["head"] != head)


@pytest.mark.parametrize(("lr", "head"), [(1e-3, 1), (1e-3, 10), (9e-3, 1), (1.1e-4, 10), (4e-3, 1)])
def test_the_best_rate_lies_between_rates_that_were_tried(lr: float, head: int) -> None:
    tried = search(peak(lr, head), 8)
    rates = sorted({point["lr"] for point, _ in tried})
    best = max(tried, key=lambda one: float(one[1] or 0))[0]
    assert rates[0] < best["lr"] < rates[-1]
    assert best["head"] == head
    assert len({tuple(point.values()) for point, _ in tried}) == 8  # no point twice


def test_the_first_trials_are_the_start_and_its_neighbours() -> None:
    tried = [(point["lr"], point["head"]) for point, _ in search(peak(1e-3, 1), 6)]
    assert tried == [(1e-3, 1), (3e-3, 1), (3.3e-4, 1), (1e-3, 10), (1.7e-3, 1), (5.8e-4, 1)]


def test_failed_trials_are_not_tried_again() -> None:
    tried = search(lambda point: None if point["lr"] > 1e-3 else peak(1e-3, 1)(point), 6)
    assert len({tuple(point.values()) for point, _ in tried}) == 6
    assert search(lambda point: None, 3)[1:] == [({"lr": 3e-3, "head": 1}, None), ({"lr": 3.3e-4, "head": 1}, None)]
