"""The run of a bench: from one composed config to rows, and from rows to JSON, table and plot."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import memory, training
from benchmarks.contestants import peft_is_installed
from benchmarks.report import show, write_json
from benchmarks.settings import Bench, Compose, Entrant, Row, Work
from benchmarks.timing import machine_facts, pin_threads, require_quiet
from krona.config import check
from krona.config.settings import Backbone
from krona.messages import KronaError, did_you_mean
from krona.paper import read_paper_table

NAMES = ("training", "latency", "kronecker", "pipeline", "memory", "serving", "sweep")  # a module for each
SHORTEST = 0.05  # minutes
ON_ONE_BACKBONE = ("training", "latency", "pipeline", "serving")
PAPER = {"training": "training_time", "latency": "latency"}  # columns of the paper's Table 2


def run_bench(
    config: Mapping[str, Any], *, compose: Compose, methods: list[str], outputs: Path, project: Path, console: Console
) -> Path:
    """Measure, print, write and draw; returns the JSON's path.

    Raises:
        KronaError: a setting or a method that does not exist, a machine under load: nothing is written then.
    """
    bench: Bench = check.build(Bench, "bench", config)
    if bench.name not in NAMES:
        raise KronaError(f"bench.name={bench.name}: {did_you_mean(bench.name, NAMES)}")
    if bench.minutes < SHORTEST:
        raise KronaError(f"bench.minutes={bench.minutes} must be at least {SHORTEST}")
    entrants = entrants_of(bench, compose, methods)
    threads = pin_threads(bench.threads)
    if bench.load == "refuse":
        require_quiet()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, style="dim")

    if threads == 1:
        say("one thread: ratios of two cores differ, small operations weigh less here")
    if bench.peft and not peft_is_installed():
        say("peft is not installed: its rows are left out (pip install peft)")
    backbones = {name: _backbone(compose([f"backbone={name}"])["backbone"]) for name in _backbones(bench)}
    work = Work(
        bench=bench, entrants=entrants, backbones=backbones, compose=compose, outputs=outputs, project=project, say=say
    )  # fmt: skip
    kind: Any = import_module(f"benchmarks.{bench.name}")
    rows: list[Row] = kind.measure(work)
    if bench.name in PAPER and all(backbone.architecture in (None, "t5") for backbone in backbones.values()):
        _add_the_papers(rows, PAPER[bench.name])
    folder = outputs / "bench"
    whole = {name: backbone.name for name, backbone in backbones.items()}
    file = write_json(folder, bench.name, rows, machine=machine_facts(threads), backbones=whole, settings=config)
    disturbed = bench.load == "mark" and any(row["disturbed_rounds"] for row in rows)
    on = "" if bench.name == "memory" else "".join(f" on {name}" for name in backbones)
    show(kind, rows, title=f"bench={bench.name}{on}", file=file, console=console, disturbed=disturbed)
    console.print(f"{file}  ({bench.name}.svg beside it)", highlight=False, markup=False)
    return file


def entrants_of(bench: Bench, compose: Compose, methods: list[str]) -> list[Entrant]:
    """The methods that take part; krona at each of ``options.shapes`` too."""
    wanted = methods if bench.methods is None else bench.methods
    for name in wanted:
        if name not in methods:
            raise KronaError(f"bench.methods: no method {name!r} in conf/method; {did_you_mean(name, methods)}")
    entrants = [_entrant(name, compose, []) for name in wanted]
    shapes = bench.own(training.Options).shapes if bench.name == "training" and "krona" in wanted else []
    for shape in shapes:
        at_shape = _entrant("krona", compose, [f"method.kron_factors=[{shape}]", "method.fit_factors=exact"])
        if at_shape.shape not in [other.shape for other in entrants if other.name == "krona"]:
            entrants.append(Entrant(name=f"krona {at_shape.shape}", method=at_shape.method, shape=at_shape.shape))
    if bench.name == "pipeline" and len(entrants) != 1:
        raise KronaError(f"bench.methods={wanted}: this bench is of one method's training step, such as [krona]")
    return entrants


def _entrant(name: str, compose: Compose, overrides: list[str]) -> Entrant:
    alone = [f"method={name}", "~recipe"]  # the method's own YAML, as in `krona params`: not the default task's row
    method = check.method(compose([*alone, *overrides])["method"], own=True)
    factors = method.branch_config.get("kron_factors")
    return Entrant(name=name, method=method, shape="x".join(map(str, factors[0])) if factors else None)


def _backbone(values: Mapping[str, Any]) -> Backbone:
    backbone: Backbone = check.build(Backbone, "backbone", values)
    return backbone


def _backbones(bench: Bench) -> list[str]:
    """Names of the backbones of conf/backbone that the bench builds."""
    if bench.name == "memory":
        return list(dict.fromkeys(point.backbone for point in memory.points_of(bench.own(memory.Options))))
    return [str(bench.options.get("backbone", "t5_base"))] if bench.name in ON_ONE_BACKBONE else []


def _add_the_papers(rows: list[Row], column: str) -> None:
    """Add Table 2's number to each row that has one: full fine-tuning = 1."""
    table_2 = read_paper_table("2")
    for row in rows:
        printed = table_2.value(row["name"].split("/")[0].split(" ")[0], column)
        if printed is not None:
            row["paper"] = printed / 100
