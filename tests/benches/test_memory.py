"""Test bench=memory: it measures every method at one point and some methods on a grid, each in its own process."""

import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benches.bench_runner import run
from benchmarks import memory, timing
from benchmarks.settings import Bench, Work
from krona.config.settings import Backbone
from krona.messages import KronaError

AT = ["t5_tiny", 2, 4, 1]
TINY = {"t5_tiny": Backbone(name="t5")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5_tiny", "bert", "llama"])
def test_rows(kind: str, tmp_path: Path) -> None:
    options = {"at": [kind, 2, 4, 1], "growing": ["full"], "grid": [[kind, 2, 4, 2]]}
    content = run(tmp_path, name="memory", methods=["full"], rounds=1, minutes=10.0, options=options)
    one, two = content["rows"]
    assert [(row["name"], row["adapters"]) for row in (one, two)] == [("full", 1), ("full", 2)]
    for row in (one, two):
        assert (row["backbone"], row["batch_size"], row["length"]) == (kind, 2, 4)
    assert one["ratio_to_full"] == 1
    assert one["peak_memory"] > 0
    assert two["ratio_to_full"] == two["peak_memory"] / one["peak_memory"]


def test_every_method_is_measured_at_one_point_and_some_on_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_run_process", lambda bench, entrant, point, backbone: (point.batch_size, [1.0]))
    options = {"at": AT, "growing": ["lora", "krona"], "grid": [["t5_tiny", 8, 4, 1], AT]}
    entrants: Any = [SimpleNamespace(name=name, shape=None) for name in ("full", "lora")]
    bench, said = Bench(name="memory", rounds=1, load="mark", options=options), list[str]()
    rows = memory.measure(Work(bench=bench, entrants=entrants, backbones=TINY, say=said.append))
    assert any(line.startswith("left out of the grid") and line.endswith(": krona") for line in said)
    assert [(row["name"], row["batch_size"]) for row in rows] == [("full", 2), ("lora", 2), ("lora", 8)]
    assert [row["ratio_to_full"] for row in rows] == [1, 1, None]


def die(*_: Any) -> None:
    """End this process as the system ends a process that has no memory left."""
    os._exit(9)


def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "measure_process", die)
    context = multiprocessing.get_context("fork")  # fork is faster, and the process has the functions of this test
    monkeypatch.setattr(memory.multiprocessing, "get_context", lambda _: context)
    entrant: Any = SimpleNamespace(name="lora")
    with pytest.raises(KronaError, match=r"lora on t5_tiny, 2 × 4.*probably out of memory"):
        memory._run_process(
            Bench(name="memory", rounds=1), entrant, memory.read_points(memory.Options(at=AT))[0], Backbone(name="t5")
        )


def test_a_point_that_is_always_disturbed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(memory, "_run_process", lambda *_: (1, [1.0]))
    monkeypatch.setattr(timing, "load_by_others", lambda *_: 0.7)
    bench = Bench(name="memory", rounds=1, minutes=0.001, options={"at": AT})
    entrant: Any = SimpleNamespace(name="lora", shape=None)
    with pytest.raises(KronaError, match=r"under load: other processes used cores in \d+ of \d+ rounds"):
        memory.measure(Work(bench=bench, entrants=[entrant], backbones=TINY, say=said.append))
    assert said[1] == "  other processes used 0.70 cores in this round, so it is repeated"


@pytest.mark.parametrize("point", [["t5_base", 8, 64], ["t5_base", 0, 64, 1], [8, 8, 64, 1], ["t5_base", 8, 64, "4"]])
def test_a_malformed_point_is_refused(point: list[Any], tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=r"bench\.options: \[.*is not a point.*\[backbone, batch, length, adapters"):
        run(tmp_path, name="memory", methods=["lora"], options={"at": AT, "grid": [point]})
