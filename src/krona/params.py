"""`krona params` and `krona shapes`: the audit's tables for people, and the methods composed from conf/ for them."""

from collections.abc import Iterable, Sequence

import hydra
from hydra.errors import HydraException
from rich import box
from rich.console import Console
from rich.table import Table

from krona import audit, check
from krona.backbones import meta_model
from krona.compose import CONF, composed
from krona.errors import KronaError
from krona.report.paper import read_paper_table
from krona.settings import Backbone, Method


def rows(backbone: str, overrides: Sequence[str] = ()) -> tuple[list[audit.MethodRow], list[str]]:
    """The table of all methods (or of ``method=a,b``) with overrides, and the methods that do not take them, with why.

    Raises:
        KronaError: no method is left, or the backbone is none.
    """
    chosen = [o.split("=", 1)[1] for o in overrides if o.startswith("method=")]
    names = chosen[-1].split(",") if chosen else method_names()
    _require("backbone", backbone)
    for name in names:
        _require("method", name)
    rest = [o for o in overrides if not o.startswith("method=")]
    if not any(o.startswith(("task=", "recipe=")) for o in rest):
        rest.append("~recipe")  # the method's own row, not that of the default task
    rows: list[audit.MethodRow] = []
    left_out: list[str] = []
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        model = None
        for name in names:
            try:
                method, settings = _composed(name, backbone, rest)
                if model is None:
                    model = meta_model(settings)
                rows.append(audit.method_row(model, method, counterparts=settings.factor_shapes))
            except KronaError as error:
                if "backbone." in str(error):  # the same for every method
                    raise
                left_out.append(f"{name}: {str(error).split('(there')[0].rstrip(': ')}")
    if not rows:
        raise KronaError("\n".join(left_out))
    return rows, left_out


def _require(group: str, name: str) -> None:
    if not (CONF / group / f"{name}.yaml").is_file():
        there = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
        raise KronaError(f"there is no conf/{group}/{name}.yaml; there are: {there}")


def method_names() -> list[str]:
    """Every method of conf/method: Table 1's rows first, in its order."""
    there = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
    table1 = list(read_paper_table("1").rows)
    return [name for name in table1 if name in there] + [name for name in there if name not in table1]


def print_rows(rows: Iterable[audit.MethodRow], left_out: Sequence[str], *, backbone: str) -> None:
    caption = (
        "%: of the backbone before insertion; paper: its Params column; rank: the highest that the update of one layer "
        "can have; file: the adapter's; M adds: million multiply-adds of the branches' products, one token at every "
        f"place; launches: kernels that one forward gains. The last two unmerged. {audit.PRINTING_RULE}."
    )
    table = Table(title=f"What trains, on {backbone}", caption=caption, box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("method", no_wrap=True)
    for heading in ("trainable", "%", "paper", "rank", "file", "M adds", "launches"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.method,
            f"{row.trainable_params:,}",
            f"{row.trainable_percent:.4f}",
            "" if row.paper_percent is None else f"{row.paper_percent:g}",
            "" if row.update_rank is None else str(row.update_rank),
            _bytes(row.file_bytes),
            f"{row.multiply_adds / 1e6:.2f}",
            str(row.launches),
        )
    console = Console()
    console.print(table)
    for line in left_out:
        console.print(f"left out: {line}", style="dim", highlight=False)


def print_shapes(rows: Sequence[audit.ShapeRow], *, d_in: int, d_out: int) -> None:
    table = Table(
        title=f"Factor shapes of a layer {d_in} → {d_out}",
        caption=f"LoRA of rank 1 has {d_in + d_out:,} parameters. Shapes with a side of 1 are left out.",
        box=box.SIMPLE_HEAD,
    )
    for heading in ("A", "B", "parameters", "rank", "multiply-adds", "% of layer's", "Table 9, MNLI"):
        table.add_column(heading, justify="right")
    for row in rows:
        a, b = (f"({p}, {q})" for p, q in row.kron_factors)
        paper = "" if row.paper_mnli is None else f"{row.paper_mnli:.2f}"
        style = "bold" if paper else None
        cost = f"{row.multiply_adds:,}", f"{row.multiply_adds_percent:.1f}"
        table.add_row(a, b, f"{row.parameters:,}", str(row.rank), *cost, paper, style=style)
    Console().print(table)


def _composed(name: str, backbone: str, overrides: Sequence[str]) -> tuple[Method, Backbone]:
    typed = [f"++{o}" if _is_value(o) else o for o in overrides]  # ++: a setting that the YAML leaves at its default
    try:
        config = composed(hydra.compose("config", [f"method={name}", f"backbone={backbone}", *typed])).config
    except HydraException as error:
        raise KronaError(str(error).splitlines()[0]) from error
    if any(o.startswith("method.kron_factors=") for o in overrides):
        config["method"]["fit_factors"] = "exact"  # a shape that was typed is never changed
    settings = check.settings(config)
    return settings.method, settings.backbone


def _is_value(override: str) -> bool:
    return "." in override.split("=", 1)[0] and not override.startswith(("+", "~"))


def _bytes(size: int) -> str:
    return f"{size / 1000:,.0f} kB" if size < 10**6 else f"{size / 10**6:,.1f} MB"
