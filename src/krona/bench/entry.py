"""What bench.py does with one composed config: the bench that it names, from entrants to files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from krona import check
from krona.bench import output
from krona.bench.machine import machine_facts, pin_threads, require_quiet
from krona.bench.settings import Bench, Entrant
from krona.errors import KronaError
from krona.names import did_you_mean
from krona.tasks import Task

Row = dict[str, Any]
Compose = Callable[[list[str]], dict[str, Any]]  # overrides of train.py's config → its plain values
TRAINING = {
    "name": "method", "shape": "A", "median_s": "fwd+bwd", "spread": "spread", "ratio_to_floor": "/ floor",
    "ratio_to_quick_floor": "/ floor, ours", "ratio_to_lora": "/ lora", "ratio_to_peft_lora": "/ peft lora",
    "ratio_to_full": "/ full", "paper": "paper / full", "with_optimizer_s": "with optimiser",
}  # fmt: skip
LATENCY = {
    "name": "method", "form": "form", "batch_size": "batch", "source": "source", "median_s": "forward",
    "spread": "spread", "ratio_to_backbone": "/ backbone", "paper": "paper", "launches_added": "launches added",
}  # fmt: skip
KRONECKER = {
    "name": "order", "shape": "A", "d_in": "in", "d_out": "out", "tokens": "rows", "median_s": "fwd+bwd",
    "spread": "spread", "ratio_to_floor": "/ layer", "ratio_to_lora": "/ lora", "ratio_to_best": "/ best",
    "planned": "planned", "best": "best",
}  # fmt: skip
PIPELINE = {
    "name": "batches", "median_s": "step", "spread": "spread", "real_tokens_per_s": "real tokens/s",
    "ratio_to_padded": "/ padded",
}  # fmt: skip
MEMORY = {
    "name": "method", "backbone": "backbone", "batch_size": "batch", "length": "length", "peak_memory": "peak (bytes)",
    "ratio_to_full": "/ full", "median_s": "step with optimiser",
}  # fmt: skip
SWEEP = {"name": "a short run as", "median_s": "time", "spread": "spread", "ratio_to_process": "/ process"}


def run_bench(
    config: Mapping[str, Any], *, compose: Compose, methods: list[str], outputs: Path, project: Path, console: Console
) -> Path:
    """Measure, print, write and draw; returns the JSON's path.

    Raises:
        KronaError: a setting or a method that does not exist, a machine under load: nothing is written then.
    """
    bench: Bench = check.build(Bench, "bench", config)
    entrants = entrants_of(bench, compose, methods)
    threads = pin_threads(bench.threads)
    if bench.load == "refuse":
        require_quiet()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, style="dim")

    if bench.peft and bench.name in ("training", "latency"):
        _say_where_no_peft(say)
    sizes = {name: compose([f"backbone={name}"])["backbone"]["sizes"] for name in _backbones(bench)}
    rows = _measure(bench, entrants, sizes, compose, outputs, project, say)
    folder = outputs / "bench"
    paper = project / "sweeps" / "paper"
    _beside_the_paper(rows, bench.name, paper)
    settings = dict(config)
    file = output.write_json(folder, bench.name, rows, machine=machine_facts(threads), settings=settings)
    _show(bench, rows, folder, paper, console)
    console.print(f"{file}  ({bench.name}.png, {bench.name}.svg beside it)", highlight=False, markup=False)
    return file


def entrants_of(bench: Bench, compose: Compose, methods: list[str]) -> list[Entrant]:
    """The methods that take part; krona at each of ``options.shapes`` too."""
    wanted = methods if bench.methods is None else bench.methods
    for name in wanted:
        if name not in methods:
            raise KronaError(f"bench.methods: no method {name!r} in conf/method; {did_you_mean(name, methods)}")
    entrants = [_entrant(name, compose, []) for name in wanted]
    shapes = bench.options.get("shapes", []) if bench.name == "training" and "krona" in wanted else []
    for a1, a2 in shapes:
        override = f"method.kron_factors=[[{a1},{a2}]]"
        entrant = _entrant("krona", compose, [override])
        if entrant.shape not in [other.shape for other in entrants if other.name == "krona"]:
            entrants.append(Entrant(name=f"krona {a1}x{a2}", method=entrant.method, shape=entrant.shape))
    return entrants


def _entrant(name: str, compose: Compose, overrides: list[str]) -> Entrant:
    method = check.method(compose([f"method={name}", *overrides])["method"])
    factors = method.branch_config.get("kron_factors")
    return Entrant(name=name, method=method, shape=f"{factors[0][0]}x{factors[0][1]}" if factors else None)


def _backbones(bench: Bench) -> list[str]:
    named = [str(point[0]) for point in bench.options.get("grid", [])]
    return list(dict.fromkeys([*named, str(bench.options.get("backbone", "t5_base"))]))


def _measure(
    bench: Bench,
    entrants: list[Entrant],
    sizes: Mapping[str, Any],
    compose: Compose,
    outputs: Path,
    project: Path,
    say: Callable[[str], None],
) -> list[Row]:
    backbone = sizes[str(bench.options.get("backbone", "t5_base"))]
    if bench.name == "training":
        from krona.bench import training

        return training.measure(bench, entrants, backbone, say)
    if bench.name == "latency":
        from krona.bench import latency

        return latency.measure(bench, entrants, backbone, say)
    if bench.name == "kronecker":
        from krona.bench import kronecker

        return kronecker.measure(bench, say)
    if bench.name == "pipeline":
        from krona.bench import pipeline

        named = [Task.from_config(compose([f"task={name}"])["task"]) for name in bench.options["tasks"]]
        return pipeline.measure(bench, entrants[0], backbone, named, outputs / ".cache" / "tokens", say)
    if bench.name == "memory":
        from krona.bench import memory

        return memory.measure(bench, entrants, sizes, say)
    if bench.name == "sweep":
        from krona.bench import sweep

        return sweep.measure(bench, project, say)
    raise KronaError(
        f"bench.name={bench.name}: a YAML of conf/bench names training, latency, kronecker, pipeline, memory or sweep"
    )


def _say_where_no_peft(say: Callable[[str], None]) -> None:
    import importlib.util

    if importlib.util.find_spec("peft") is None:
        say("peft is not installed: its rows are left out (pip install peft)")


def _beside_the_paper(rows: list[Row], name: str, paper: Path) -> None:
    """Table 2's number beside each row that has one: full fine-tuning = 1."""
    column = {"training": "training_time", "latency": "latency"}.get(name)
    printed = output.paper_column(paper / "table2.csv", column) if column else {}
    for row in rows:
        plain = row["name"].split("/")[0].split(" ")[0]
        if plain in printed and not row["name"].startswith(("peft", "floor")):
            row["paper"] = printed[plain] / 100


def _show(bench: Bench, rows: list[Row], folder: Path, paper: Path, console: Console) -> None:
    columns = {
        "training": TRAINING, "latency": LATENCY, "kronecker": KRONECKER, "pipeline": PIPELINE, "memory": MEMORY,
        "sweep": SWEEP,
    }[bench.name]  # fmt: skip
    disturbed = any(row.get("disturbed_rounds") for row in rows) and bench.load == "mark"
    if disturbed:
        console.print("others ran on the machine while this was measured: these are no figures", style="bold red")
    shown = rows
    if bench.name == "kronecker":
        shown = [row for row in rows if row["name"] in ("krona", "lora", "krona/built")]
    output.print_table(console, f"bench={bench.name}", shown, columns)
    title = f"bench={bench.name}" + (" (machine under load)" if disturbed else "")
    if bench.name == "latency":
        from krona.bench.latency import constant_that_explains

        found = constant_that_explains(rows, output.paper_column(paper / "table2.csv", "latency"))
        if found:
            console.print(
                f"Table 2's latencies by launches that plain modules add: one constant, {found[0]:,.0f} launches for "
                f"the bare model, leaves at most {found[1]:.2f} of its latency unexplained",
                highlight=False,
            )
    if bench.name == "memory":
        output.draw_lines(folder, bench.name, _growth(rows), x="tokens in a batch", y="peak memory (GiB)")
    else:
        key = {
            "training": "ratio_to_floor", "latency": "ratio_to_backbone", "kronecker": "ratio_to_floor",
            "pipeline": "ratio_to_padded", "sweep": "ratio_to_process",
        }[bench.name]  # fmt: skip
        drawn = [row for row in shown if row.get("batch_size", 1) == 1] if bench.name == "latency" else shown
        output.draw_bars(folder, bench.name, drawn, key, title=title)


def _growth(rows: list[Row]) -> dict[str, list[tuple[float, float]]]:
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        point = (float(row["batch_size"] * row["length"]), row["peak_memory"] / 2**30)
        series.setdefault(f"{row['name']}, {row['backbone']}", []).append(point)
    return series
