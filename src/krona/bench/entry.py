"""The run of a bench: from one composed config to rows, and from rows to JSON, table and plot."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from krona.bench import memory, training
from krona.bench.contestants import peft_is_installed
from krona.bench.machine import machine_facts, pin_threads, require_quiet
from krona.bench.output import write_json
from krona.bench.settings import Bench, Compose, Entrant, Row, Work
from krona.bench.show import COLUMNS, show
from krona.config import check
from krona.config.settings import Backbone
from krona.messages import KronaError, did_you_mean
from krona.paper import read_paper_table


def run_bench(
    config: Mapping[str, Any], *, compose: Compose, methods: list[str], outputs: Path, project: Path, console: Console
) -> Path:
    """Measure, print, write and draw; returns the JSON's path.

    Raises:
        KronaError: a setting or a method that does not exist, a machine under load: nothing is written then.
    """
    bench: Bench = check.build(Bench, "bench", config)
    if bench.name not in COLUMNS:
        *names, last = COLUMNS
        raise KronaError(f"bench.name={bench.name}: a YAML of conf/bench names {', '.join(names)} or {last}")
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
    rows: list[Row] = import_module(f"krona.bench.{bench.name}").measure(work)
    if all(backbone.architecture in (None, "t5") for backbone in backbones.values()):
        _beside_the_paper(rows, bench.name)
    folder = outputs / "bench"
    whole = {name: backbone.name for name, backbone in backbones.items()}
    file = write_json(folder, bench.name, rows, machine=machine_facts(threads), backbones=whole, settings=config)
    disturbed = bench.load == "mark" and any(row["disturbed_rounds"] for row in rows)
    on = "" if bench.name == "memory" else "".join(f" on {name}" for name in backbones)
    show(bench.name, rows, on=on, folder=folder, console=console, disturbed=disturbed)
    console.print(f"{file}  ({bench.name}.png, {bench.name}.svg beside it)", highlight=False, markup=False)
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
    on_one = ("training", "latency", "pipeline", "serving")
    return [str(bench.options.get("backbone", "t5_base"))] if bench.name in on_one else []


def _beside_the_paper(rows: list[Row], name: str) -> None:
    """Table 2's number beside each row that has one: full fine-tuning = 1."""
    columns = {"training": "training_time", "latency": "latency"}
    if name not in columns:
        return
    table_2 = read_paper_table("2")
    for row in rows:
        printed = table_2.value(row["name"].split("/")[0].split(" ")[0], columns[name])
        if printed is not None:
            row["paper"] = printed / 100
