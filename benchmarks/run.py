"""Run the benchmark from a composed config, and write its results as JSON and as a table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import training
from benchmarks.contestants import peft_is_installed
from benchmarks.settings import Bench, Compose, Entrant, Row, Work
from benchmarks.timing import machine_facts, pin_threads, require_quiet
from krona.config import check
from krona.config.choices import without_families
from krona.config.settings import Backbone
from krona.messages import KronaError, did_you_mean
from krona.methods.factor_shapes import shape_name
from krona.paper import read_paper_table
from krona.safe_files import write_whole

MIN_MINUTES = 0.05


def run_bench(
    config: Mapping[str, Any], *, compose: Compose, methods: list[str], outputs: Path, console: Console
) -> Path:
    """Run a benchmark of some of ``methods``, print and write its results, and return the path of the JSON file.

    Raises:
        KronaError: a setting or a method is wrong, or the machine is under load. No file is written in this case.
    """
    bench: Bench = check.build(Bench, "bench", config)
    if bench.minutes < MIN_MINUTES:
        raise KronaError(f"bench.minutes={bench.minutes} must be at least {MIN_MINUTES}")
    entrants = build_entrants(bench, compose, methods)
    threads = pin_threads(bench.threads)
    if bench.load == "refuse":
        require_quiet()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, style="dim")

    if threads == 1:
        say("one thread: with several threads, the ratios would be different")
    if bench.peft and not peft_is_installed():
        say("peft is not installed, so its rows are left out (pip install peft)")
    name = bench.own(training.Options).backbone
    backbone: Backbone = check.build(Backbone, "backbone", compose([f"backbone={name}"])["backbone"])
    rows = training.measure(Work(bench=bench, entrants=entrants, backbone=backbone, say=say))
    if backbone.architecture in (None, "t5"):
        _add_paper_values(rows)
    facts = {"machine": machine_facts(threads), "backbones": {name: backbone.name}, "settings": dict(config)}
    text = json.dumps({"name": bench.name, "rows": rows, **facts}, indent=1) + "\n"
    file = outputs / "bench" / f"{bench.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, lambda part: part.write_text(text, encoding="utf-8"))
    disturbed = bench.load == "mark" and any(row["disturbed_rounds"] for row in rows)
    show(rows, title=f"bench={bench.name} on {name}", console=console, disturbed=disturbed)
    console.print(str(file), highlight=False, markup=False)
    return file


def build_entrants(bench: Bench, compose: Compose, methods: list[str]) -> list[Entrant]:
    """Return the methods to measure. Types of peft are measured only if ``bench.methods`` names them.

    If krona is included, it is included again for each of ``options.shapes``.
    """
    wanted = without_families(methods) if bench.methods is None else bench.methods
    for name in wanted:
        if name not in methods:
            raise KronaError(f"bench.methods: {name!r} is not a method of conf/method: {did_you_mean(name, methods)}")
    entrants = [_build_entrant(name, compose, []) for name in wanted]
    shapes = bench.own(training.Options).shapes if "krona" in wanted else []
    for shape in shapes:
        krona = _build_entrant("krona", compose, [f"method.kron_factors=[{shape}]", "method.fit_factors=nearest"])
        if krona.shape not in [other.shape for other in entrants if other.name == "krona"]:
            entrants.append(Entrant(name=f"krona {krona.shape}", method=krona.method, shape=krona.shape))
    return entrants


def _build_entrant(name: str, compose: Compose, overrides: list[str]) -> Entrant:
    # use only the YAML of the method, as in `krona params`, and not the recipe of the default task
    method = check.method(compose([f"method={name}", "~recipe", *overrides])["method"])
    factors = method.branch_config.get("kron_factors")
    return Entrant(name=name, method=method, shape=shape_name(factors[0]) if factors else None)


def _add_paper_values(rows: list[Row]) -> None:
    table_2 = read_paper_table("2")
    for row in rows:
        percent = table_2.value(row["name"].split("/")[0].split(" ")[0], "training_time")
        if percent is not None:
            row["paper"] = percent / 100


def show(rows: Sequence[Row], *, title: str, console: Console, disturbed: bool) -> None:
    """Print the table of a benchmark."""
    if disturbed:
        console.print("Other processes ran during the measurement. Do not use these results.", style="bold red")
    table = Table(title=title, title_justify="left")
    for position, heading in enumerate(training.COLUMNS.values()):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(format_cell(key, row.get(key)) for key in training.COLUMNS))
    console.print(table)


def format_cell(key: str, value: Any) -> str:
    """Format a value of a row for the table."""
    if value is None:
        return "–"
    if isinstance(value, float):
        if key.endswith("_s"):
            return f"{1000 * value:,.1f} ms"
        return f"{100 * value:.1f} %" if key == "spread" else f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
