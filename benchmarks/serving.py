"""bench=serving: time a batch in which each row uses one of several adapters.

With n adapters, row i uses adapter i mod n. These ways of computing the batch are timed:

- *merged*: all rows use one adapter, which is merged if possible. All ratios are relative to this time.
- *active*: all rows use the same adapter as in *merged*, without merging.
- *mixed*: one forward pass computes all rows with `surgery.mixed`. Before each pass, the adapter of each row is set.
- *switched*: there is one forward pass for the rows of each adapter. Before each pass, `surgery.activate` activates the
  adapter.
- *reloaded*: there is one forward pass for the rows of each adapter. Before each pass, the adapter's file is loaded
  into the bare backbone.
- *switch*: a call of `surgery.activate` alone, with n adapters in the model. If n is 1, the calls deactivate and
  activate the adapter in turn.
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.contestants import (
    adapter_name,
    add_adapter,
    build_family,
    forward,
    frozen_backbone,
    inserted_shape,
    merge_if_linear,
    perturb,
    random_batch,
    twin,
)
from benchmarks.settings import Bench, Entrant, Row, Work, settings
from benchmarks.timing import timed_rounds
from krona import surgery
from krona.adapters.adapter import Adapter
from krona.messages import KronaError
from krona.tasks.data import Positive

COLUMNS = {
    "name": "method", "shape": "A", "form": "form", "adapters": "adapters", "median_s": "time", "spread": "spread",
    "rows_per_s": "rows/s", "ratio_to_merged": "/ merged",
}  # fmt: skip
PLOT = ("ratio_to_merged", "time of a batch over that of one merged adapter")
SWITCHES = 20  # number of switches in one timing; even, so that a single adapter is active at the end
Call = Callable[[], float | None]


@settings
class Options:
    """The settings of this benchmark."""

    backbone: str = "t5_base"
    adapters: list[Positive]
    """The numbers of adapters in a batch. Each number gives one measurement of each way."""
    decoder: Positive = 2
    """The number of tokens in a label, if the backbone generates text."""


def measure(work: Work) -> list[Row]:
    bench, options = work.bench, work.bench.own(Options)
    if not options.adapters or max(options.adapters) > bench.batch_size:
        raise KronaError(
            f"bench.options.adapters={options.adapters} must be a list of numbers of at most bench.batch_size="
            f"{bench.batch_size}, so that each adapter has a row."
        )
    backbone = frozen_backbone(work.backbone, seed=bench.seed).eval()
    rows: list[Row] = []
    for entrant in work.entrants:
        work.say(f"{entrant.name}: batch {bench.batch_size} × {bench.length}")
        part = replace(bench, minutes=bench.minutes / len(work.entrants))
        with ExitStack() as stack:
            rows += _measure_method(part, backbone, entrant, stack, work)
    return rows


def _measure_method(bench: Bench, backbone: Any, entrant: Entrant, stack: ExitStack, work: Work) -> list[Row]:
    options, size = bench.own(Options), bench.batch_size
    models = {count: _with_adapters(backbone, entrant, count, seed=bench.seed) for count in {1, *options.adapters}}
    one, form = merge_if_linear(_with_adapters(backbone, entrant, 1, seed=bench.seed))
    batch = random_batch(backbone, rows=size, length=bench.length, seed=bench.seed, answer=options.decoder)
    inputs = build_family(backbone).inputs(backbone, batch)
    calls: dict[str, Call] = {"merged": forward(one, inputs), "active": forward(models[1], inputs)}
    facts: dict[str, dict[str, Any]] = {"merged": {"form": form, "adapters": 1}, "active": {"adapters": 1}}
    files = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    bare = twin(backbone)
    for count in options.adapters:
        names = [adapter_name(number) for number in range(count)]
        wanted = [names[row % count] for row in range(size)]
        parts = [_select_rows(inputs, range(number, size, count)) for number in range(count)]
        for name in names:
            Adapter.of(models[count], name).save(files / name)
        ways = {
            "mixed": _mixed(twin(models[count]), wanted, inputs, stack),
            "switched": _switched(models[count], names, parts),
            "reloaded": _reloaded(bare, [files / name for name in names], parts),
            "switch": _switch(models[count], names),
        }
        calls |= {f"{way} {count}": call for way, call in ways.items()}
        facts |= {f"{way} {count}": {"form": way, "adapters": count} for way in ways}
    timed = timed_rounds(bench, calls, say=work.say)
    return [
        {
            **timed.row(name, shape=inserted_shape(models[1])),
            "form": name,
            **facts[name],
            "name": f"{entrant.name}/{name}",
            "batch_size": size,
            "length": bench.length,
            "rows_per_s": None if name.startswith("switch ") else size / timed.median(name),
            "ratio_to_merged": None if name.startswith("switch ") else timed.ratio(name, "merged"),
        }
        for name in calls
    ]


def _with_adapters(backbone: Any, entrant: Entrant, count: int, *, seed: int) -> Any:
    """Return a twin with ``count`` different adapters. The last adapter is active."""
    model = twin(backbone)
    for number in range(count):
        add_adapter(model, entrant, number, seed=seed)
        perturb(model, seed=seed + number)
    return model


def _select_rows(inputs: dict[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    index = torch.tensor(list(rows))
    return {key: value[index] if isinstance(value, torch.Tensor) else value for key, value in inputs.items()}


def _mixed(model: Any, wanted: Sequence[str], inputs: dict[str, Any], stack: ExitStack) -> Call:
    batch = stack.enter_context(surgery.mixed(model, wanted))

    @torch.no_grad()
    def call() -> None:
        batch.set(wanted)
        model(**inputs)

    return call


def _switched(model: Any, names: Sequence[str], parts: Sequence[dict[str, Any]]) -> Call:
    @torch.no_grad()
    def call() -> None:
        for name, inputs in zip(names, parts, strict=True):
            surgery.activate(model, name)
            model(**inputs)

    return call


def _reloaded(model: Any, files: Sequence[Path], parts: Sequence[dict[str, Any]]) -> Call:
    @torch.no_grad()
    def call() -> None:
        for file, inputs in zip(files, parts, strict=True):
            Adapter.load(file).insert(model)
            model(**inputs)
            surgery.take_out(model)

    return call


def _switch(model: Any, names: Sequence[str]) -> Call:
    turns = itertools.cycle(names if len(names) > 1 else (None, *names))

    def call() -> float:
        start = time.perf_counter()
        for _ in range(SWITCHES):
            surgery.activate(model, next(turns))
        return (time.perf_counter() - start) / SWITCHES

    return call
