"""Define the rows and columns of each kind of table: a table of the paper, of a sweep, or of all runs.

Group the runs of a section into the rows of a table, and name the rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from krona.display_names import method_label, method_order
from krona.paper import RECIPE_TABLES, TASKS, PaperTable, read_paper_table
from krona.paths import choice_files
from krona.report.runs import ReportRun, Runs, first_run, group_by, list_settings
from krona.report.table import Row
from krona.report.text import setting_text
from krona.runs.description import asked_shape, used_shape
from krona.runs.result import Result
from krona.runs.run_id import as_text


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The rows and columns of a table."""

    name: str  # the number of a table of the paper, the name of a sweep, or "runs"
    title: str
    axis: str  # heading of the first column
    row: Callable[[Result], str | None]  # returns the key of a run's row, or None if the run has no row
    command: str  # the command that starts the runs of the table; empty: the user's own command, which is not known
    labels: Mapping[str, str] = field(default_factory=dict)  # labels of rows that are not methods, by row key
    rows: tuple[str, ...] = ()  # keys of rows that are always shown, in this order
    tasks: tuple[str, ...] = ()  # tasks that are always shown; if empty, the tasks of the runs
    split: str = "test"
    also_shown_split: str | None = None  # another split, whose scores are shown but not compared
    quantity: str = "score"  # if "score", the cells show scores; otherwise, the cells show times
    average: bool = True  # add the mean over tasks
    extras: tuple[str, ...] = ()  # names of additional columns (`krona.report.costs.QUANTITIES`)
    by_shape: bool = False  # whether each row is a shape of A
    paper: PaperTable | None = None
    sweep: str | None = None  # the sweep whose runs are shown; None: all runs are shown
    baseline: str = "lora"  # the name of the reference row
    notes: tuple[str, ...] = ()

    def label(self, row: str) -> str:
        """Return the label of the row with this key."""
        return self.labels.get(row) or method_label(row)

    def order(self, row: str) -> tuple[Any, ...]:
        """Return a sort key that puts the rows of the layout first, in the layout's order."""
        return (self.rows.index(row), row) if row in self.rows else (len(self.rows), *method_order(row))


def find_layout(table: str | None, sweep: str | None) -> Layout:
    """Return the layout for a ``table`` of the paper, for a ``sweep``, or for all runs if both are None."""
    if table in RECIPE_TABLES:  # a row of Table 1, with the hyper-parameters in this table
        whole, method = find_layout("1", None), RECIPE_TABLES[table]
        title = f"Table 1 with the hyper-parameters of Table {table}"
        return replace(whole, title=title, rows=(method,), sweep=f"table{table}", command=f"krona table {table}")
    if table is not None:
        paper = read_paper_table(table)  # raises an error for an unknown number
        name = f"table{table}" if table.isdecimal() else table
        tasks = tuple(column for column in paper.columns if column in TASKS)
        own: dict[str, Any] = {"rows": tuple(paper.rows), "tasks": tasks, **_TABLES[table]}
        return Layout(paper=paper, sweep=name, name=table, command=f"krona table {table}", **own)
    title = f"Sweep {sweep}" if sweep else "All runs"
    command = "krona train"
    if sweep:
        command = f"{command} -m sweeps={sweep}" if sweep in choice_files("sweeps") else ""
    return Layout(
        name=sweep or "runs", title=title, sweep=sweep, command=command,
        extras=("params", "rank", "time", "step", "memory", "adapter", "adds", "launches"),
        **_BY_METHOD,
    )  # fmt: skip


def _init(result: Result) -> str | None:
    if result.method != "krona" or _factor_shape(result) != "32x24":
        return None
    return "normal" if result.config["method"].get("init") == "normal" else "kaiming_uniform"


def _factor_shape(result: Result) -> str | None:
    """Return the shape of A as the paper prints it, such as ``32x24``.

    If the backbone's config replaces the paper's shape by another shape, return the paper's shape.
    """
    factors = result.config["method"].get("kron_factors")
    if not factors:
        return None
    shape, counterparts = as_text(factors), result.config["backbone"].get("factor_shapes") or {}
    return next((name for name, pair in counterparts.items() if as_text([list(pair)]) == shape), shape)


def _step(result: Result) -> str | None:
    method = result.config["method"]
    if not result.method.startswith("krona_b") or method.get("residual"):
        return None
    if method.get("placement") == "sequential":
        return "sequential"
    places = as_text(method.get("target_modules", []))
    if not any(word in places.lower() for word in ("attention", "attn")):
        return None if method.get("non_linearity") else "ps_ffn"
    if method.get("scaling", 1) == 1:
        return "parallel"
    return {None: "ps", "silu": "ps_silu"}.get(method.get("non_linearity"))


def _shape(result: Result) -> str | None:
    by_init = result.method == "krona" and result.config["method"].get("init") != "normal"
    return _factor_shape(result) if by_init else None


_BY_METHOD: dict[str, Any] = {"axis": "Method", "row": lambda result: result.method}
_TABLES: dict[str, dict[str, Any]] = {
    "1": {
        **_BY_METHOD, "title": "Table 1: the methods on GLUE", "extras": ("params",),
        "notes": ("Params are the trainable parameters in % of the backbone. For KronA^B and KronA^B_res, the paper's"
                  " number depends on the number of biases (one or two).",),
    },
    "2": {
        **_BY_METHOD, "title": "Table 2: inference latency and training time", "quantity": "cost",
        "notes": ("Full fine-tuning is 100.",),
    },
    "4": {
        "title": "Table 4: initialization of KronA's factors", "axis": "Init method", "row": _init,
        "labels": {"normal": "A, B ~ Normal", "kaiming_uniform": "A ~ KU, B = 0"},
        "notes": ("A has the shape (32, 24) on every task. This follows from the differences between the paper's Tables"
                  " 1 and 4.",),
    },
    "5": {
        "title": "Table 5: KronA^B step by step", "axis": "Modification", "row": _step,
        "labels": {
            "sequential": "Sequential", "parallel": "Parallel", "ps": "Parallel+Scale (PS)", "ps_silu": "PS+SiLU",
            "ps_ffn": "PS only on FFN",
        },
        "notes": ("The scores of the paper's last row differ from those of KronA^B in Table 1, except on SST-2 and QQP."
                  " The last row was probably measured before the settings were tuned for each task.",),
    },
    "6": {
        "title": "Table 6: a non-linearity inside KronA^B", "axis": "Non-linearity",
        "row": lambda run: run.config["method"].get("non_linearity") if run.method.startswith("krona_b") else None,
        "labels": {"mish": "Mish", "relu": "ReLU", "gelu": "GELU", "gelu_new": "GELU_new", "silu": "SiLU"},
        "average": False,
        "notes": ("These runs have the settings of the row PS in Table 5. For SiLU, the paper prints 93.30 in both"
                  " tables.",),
    },
    "7": {
        "title": "Table 7: a sigmoid on the learned residual scale", "axis": "Residual",
        "row": lambda run: {"scale": "linear", "sigmoid": "sigmoid"}.get(str(run.config["method"].get("residual"))),
        "labels": {"linear": "KronA^B_res", "sigmoid": "KronA^B_sigres"},
        "tasks": TASKS, "extras": ("time",), "notes": ("Time is relative to KronA^B_res.",),
    },
    "8": {
        **_BY_METHOD, "title": "Table 8: training time by task", "quantity": "seconds",
        "notes": ("Seconds per step, relative to full fine-tuning on the same task (mean over seeds).",),
    },
    "9": {
        "title": "Table 9: shapes of A in KronA", "axis": "Shape of A", "row": _shape, "by_shape": True,
        "split": "dev", "also_shown_split": "test", "average": False, "extras": ("rank",),
        "notes": ("The scores are the best dev scores, as in the paper. For the shape 2x384, the paper prints 86.63 in"
                  " Table 9 and 86.34 in Table 1. Test scores are shown next to the dev scores.",
                  "Rank is the highest possible rank of A ⊗ B, min(a1, a2) · min(b1, b2)."),
    },
    "lora_ga": {
        "title": "LoRA-GA's protocol on T5-base", "axis": "Method",
        "row": lambda result: result.method if result.config["data"].get("protocol") == "validation" else None,
        "labels": {"adalora": "AdaLoRA", "gora": "GoRA", "constant": "Constant answer"},
        "rows": ("full", "lora", "lora_ga", "krona"),
        "notes": ("Accuracy on the official validation rows after one epoch. The dev scores are from the same rows.",),
    },
}  # fmt: skip


def group_rows(layout: Layout, runs: Runs) -> list[Row]:
    """Group a section's runs into rows. Return the rows, without cells, in table order.

    The variants of a method are groups of runs that differ in a setting other than the seed. Each variant has its own
    row. Variants on different tasks share a row if the settings that distinguish them are equal.
    """
    by_settings: dict[tuple[str, tuple[tuple[str, str], ...]], Row] = {}
    for (key, task), group in sorted(group_by(runs, lambda run: (str(layout.row(run.result)), run.task)).items()):
        variants = _split_variants(group)
        firsts = [first_run(variant) for variant in variants]
        settings_of_variants = list_settings(firsts)
        for variant, first, settings in zip(variants, firsts, settings_of_variants, strict=True):
            row = by_settings.setdefault((key, tuple(settings.items())), Row(key, settings=settings))
            row.runs[task], row.first[task] = variant, first
    with_runs = {row.key for row in by_settings.values()}
    rows = [*by_settings.values(), *(Row(key) for key in layout.rows if key not in with_runs)]
    rows.sort(key=lambda row: (layout.order(row.key), [_by_size(*item) for item in row.settings.items()]))
    for row in rows:
        name_row(layout, row)
    return rows


def _split_variants(runs: Runs) -> list[list[ReportRun]]:
    """Return the runs of each variant. If any variant has finished runs, omit the variants without finished runs.

    A run that ended before it recorded its data fingerprints is added to a variant whose other settings are equal.
    """
    by_variant = group_by(runs, lambda run: run.variant)
    if all(run.done for run in runs):
        return [*by_variant.values()]
    items = {variant: {*group[0].settings.items()} for variant, group in by_variant.items()}
    for variant in [*by_variant]:
        complete = next((other for other in by_variant if other != variant and items[variant] < items[other]), None)
        if complete is not None:
            by_variant[complete] += by_variant.pop(variant)
    return [group for group in by_variant.values() if any(run.done for run in group)] or [*by_variant.values()]


def _by_size(key: str, value: str) -> tuple[str, float, str]:
    """Return a sort key that sorts lr=0.0001 before lr=0.001, and 2x384 before 12x64."""
    try:
        return key, float(value.split("x")[0]), value
    except ValueError:
        return key, float("inf"), value


def name_row(layout: Layout, row: Row) -> None:
    """Set a row's label and the text of its differing settings. The text names the shape of A that the layers use."""
    first = next(iter(row.first.values()), None)
    used, asked = (used_shape(first.result), asked_shape(first.result)) if first else (None, None)
    row.label = layout.label(row.key)
    texts = {key: setting_text(key, value) for key, value in row.settings.items()}
    if (key := "method.kron_factors") in texts:
        texts[key] = f"{used} (the paper's {asked})" if asked else used or row.settings[key]
    words = [f"{key.removeprefix('method.')}={value}" for key, value in texts.items()]
    if layout.by_shape and asked:  # in a table of shapes, the label is the shape that was used
        row.label, words = used or row.label, [f"the paper's {row.key}", *words]
    row.differs = ", ".join(words)
